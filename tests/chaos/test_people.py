"""What the rounds look at after each fault does find a label that is lost, changed or doubled."""

from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from app.core.db import writing
from app.labeling.leases import lease_next
from app.labeling.models import Item, Ranking, RankingPlace
from app.labeling.schemas import Submission
from app.labeling.submissions import submit
from tests.app.labeling.rows import make_ranking_batch
from tests.chaos.people import doubled, unlike
from tests.factories import make_person, make_project

RANKS = {"A": 1, "B": 2, "C": 3}


def _lose(session: Session) -> None:
    session.execute(delete(RankingPlace))
    session.execute(delete(Ranking))


def _change(session: Session) -> None:
    session.execute(update(RankingPlace).where(RankingPlace.rank == 1).values(rank=3))


def _double(session: Session) -> None:
    ranking = session.scalars(select(Ranking)).one()
    session.add(Ranking(assignment_id=ranking.assignment_id, item_id=ranking.item_id, person_id=ranking.person_id,
                        supersedes_id=ranking.id))  # fmt: skip
    session.execute(update(Item).values(got=2))


@pytest.mark.parametrize(("tamper", "is_double"), [(_lose, False), (_change, False), (_double, True)])
def test_a_label_that_is_not_as_it_was_acknowledged_is_found(engine: Engine, tamper: Any, is_double: bool) -> None:
    with writing(engine) as session:
        project = make_project(session)
        make_ranking_batch(session, project, completions=3)
        person = make_person(session, project=project)
        assignment = lease_next(session, person, project)
        assert assignment is not None
        submit(session, person, assignment.id, Submission(submission_key="of-this-test", ranks=RANKS))
    known = {str(assignment.id): RANKS}
    assert (unlike(engine, known), doubled(engine)) == ([], [])
    with writing(engine) as session:
        tamper(session)
    assert unlike(engine, known)
    assert bool(doubled(engine)) == is_double
