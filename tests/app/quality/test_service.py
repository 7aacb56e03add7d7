"""The figures of a project's labeling, from its rows."""

import uuid
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.labeling.leases import lease_next
from app.labeling.models import Ranking, RankingPlace
from app.labeling.schemas import Skip, Submission
from app.labeling.submissions import skip, submit
from app.projects.models import Project
from app.quality.service import labeling_figures, team_figures
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def work(session: Session, person: Person, project: Project, **content: Any) -> uuid.UUID:
    """Lease the next item and submit it; ranks are given in the order of the item's completions."""
    assignment = lease_next(session, person, project)
    assert assignment is not None
    assignment.shown_order = sorted(assignment.shown_order)
    session.flush()
    body = {"submission_key": str(uuid.uuid4()), "active_seconds": 60, **content}
    submit(session, person, assignment.id, Submission.model_validate(body))
    return assignment.id


def test_figures_by_batch_and_labeler(session: Session, project: Project) -> None:
    make_demonstration_batch(session, project, priority=-1)
    batch = make_ranking_batch(session, project, completions=3, overlap=2)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    work(session, mira, project, ranks={"A": 1, "B": 2, "C": 3})
    work(session, noor, project, ranks={"A": 1, "B": 3, "C": 2})
    work(session, mira, project, text="A brave dog.")
    figures = labeling_figures(session, project)
    assert figures.whole.pairwise is not None
    assert figures.whole.pairwise.value == pytest.approx(2 / 3)
    measured = {each.batch.id: each.agreements.pairwise for each in figures.batches}
    assert measured[batch.id] == figures.whole.pairwise == team_figures(session, project).agreement
    assert list(measured.values()).count(None) == 1
    assert sorted(each.labelers for each in figures.batches) == [1, 2]
    busiest = figures.labelers[0]
    assert (busiest.person.id, busiest.rankings, busiest.demonstrations) == (mira.id, 1, 1)
    assert busiest.median_seconds == 60
    assert busiest.agreement is not None
    assert busiest.agreement.n == 3


def test_skips_are_counted_and_cannot_be_ranked_is_no_comparison(session: Session, project: Project) -> None:
    make_ranking_batch(session, project, items=2, completions=2, overlap=2)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    work(session, mira, project, ranks={"A": 1, "B": 2})
    work(session, noor, project, cannot_rank=True)
    assignment = lease_next(session, mira, project)
    assert assignment is not None
    skip(session, mira, assignment.id, Skip(reason="unsafe"))
    figures = labeling_figures(session, project)
    assert figures.whole.pairwise is None
    assert {each.person.id: (each.rankings, each.skipped) for each in figures.labelers} == {
        mira.id: (1, 1),
        noor.id: (1, 0),
    }


def test_a_corrected_ranking_counts_in_place_of_the_first(session: Session, project: Project) -> None:
    make_ranking_batch(session, project, completions=2, overlap=2)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    work(session, mira, project, ranks={"A": 1, "B": 2})
    work(session, noor, project, ranks={"A": 2, "B": 1})
    found = team_figures(session, project).agreement
    assert found is not None
    assert found.value == 0.0
    first = session.query(Ranking).filter_by(person_id=noor.id).one()
    better = Ranking(
        assignment_id=first.assignment_id, item_id=first.item_id, person_id=noor.id, supersedes_id=first.id
    )
    session.add(better)
    session.flush()
    for place in session.query(RankingPlace).filter_by(ranking_id=first.id).all():
        session.add(RankingPlace(ranking_id=better.id, completion_id=place.completion_id, rank=3 - place.rank))
    session.flush()
    found = team_figures(session, project).agreement
    assert found is not None
    assert found.value == 1.0


def test_an_empty_project_has_empty_figures(session: Session, project: Project) -> None:
    figures = labeling_figures(session, project)
    assert (figures.batches, figures.labelers, figures.whole.pairwise, figures.gold) == ([], [], None, None)
