"""What every labeler is to get follows who is there; known answers lie where nobody can guess them."""

import uuid

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person, PersonState
from app.labeling import service
from app.labeling.leases import lease_next
from app.labeling.models import Batch, BatchKind, Item, ItemPurpose
from app.labeling.plans import answered_items, count_labelers_for, follow_labelers, for_everyone
from app.labeling.progress import progress
from app.labeling.schemas import Skip, Submission
from app.labeling.submissions import skip, submit
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.app.labeling.rows import make_ranking_batch
from tests.factories import make_completion, make_person, make_project, make_prompt


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def calibrated(session: Session, project: Project, items: int = 2) -> Batch:
    batch = make_ranking_batch(session, project, items=items)
    session.execute(update(Item).where(Item.batch_id == batch.id).values(purpose=ItemPurpose.calibration))
    return batch


def wanted(session: Session, batch: Batch) -> list[int]:
    query = select(Item.wanted).where(Item.batch_id == batch.id).order_by(Item.position)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def test_calibration_follows_the_labelers(session: Session, project: Project) -> None:
    batch, ordinary = calibrated(session, project), make_ranking_batch(session, project)
    people = [make_person(session, project=project) for _ in range(3)]
    make_person(session, project=project, group=Group.held_out)
    assert follow_labelers(session) == 2
    assert (wanted(session, batch), wanted(session, ordinary)) == ([3, 3], [1])
    assert follow_labelers(session) == 0
    people[0].state = PersonState.paused
    session.flush()
    follow_labelers(session)
    assert wanted(session, batch) == [2, 2]


def test_who_skips_a_calibration_item_is_not_waited_for(session: Session, project: Project) -> None:
    batch = calibrated(session, project)
    people = [make_person(session, project=project) for _ in range(2)]
    follow_labelers(session)
    assignment = lease_next(session, people[0], project)
    assert assignment is not None
    skip(session, people[0], assignment.id, Skip(reason="I do not know."))
    follow_labelers(session)
    assert wanted(session, batch) == [1, 2]


def test_who_left_takes_no_place_from_who_stays(session: Session, project: Project) -> None:
    """Neither by a label that was made before leaving, nor by a skip, nor by a lease that ran out."""
    batch = calibrated(session, project, items=3)
    gone, lin, mira = (make_person(session, project=project) for _ in range(3))
    follow_labelers(session)
    done, skipped = lease_next(session, gone, project), None
    assert done is not None
    ranks = dict.fromkeys("ABCD", 1)
    submit(session, gone, done.id, Submission(ranks=ranks, submission_key="a-key-of-its-own"))
    skipped = lease_next(session, gone, project)
    assert skipped is not None
    skip(session, gone, skipped.id, Skip(reason="I do not know."))
    gone.state = PersonState.paused
    session.flush()
    follow_labelers(session)
    assert wanted(session, batch) == [3, 2, 2]
    for person in (lin, mira):
        for _ in range(3):
            assignment = lease_next(session, person, project)
            assert assignment is not None
            submit(session, person, assignment.id, Submission(ranks=ranks, submission_key=str(uuid.uuid4())))
    follow_labelers(session)
    assert progress(session, batch).left == 0


def test_a_later_candidate_gets_the_whole_screening(session: Session, project: Project) -> None:
    batch = make_ranking_batch(session, project, kind=BatchKind.screening, items=2)
    for number in range(3):
        person = make_person(session, project=project)
        person.state = PersonState.screening
        session.flush()
        follow_labelers(session)
        for _ in range(2):
            assignment = lease_next(session, person, project)
            assert assignment is not None, f"candidate {number} found nothing"
            sent = Submission(ranks=dict.fromkeys("ABCD", 1), submission_key=str(uuid.uuid4()))
            submit(session, person, assignment.id, sent)
        person.state = PersonState.active  # decided
        session.flush()
    assert wanted(session, batch) == [3, 3]


def test_places_that_are_taken_stay_wanted(session: Session, project: Project) -> None:
    batch = calibrated(session, project, items=1)
    people = [make_person(session, project=project) for _ in range(3)]
    follow_labelers(session)
    for person in people:
        assert lease_next(session, person, project) is not None
    for person in people:
        person.state = PersonState.paused
    session.flush()
    follow_labelers(session)
    assert wanted(session, batch) == [3]


@pytest.mark.parametrize(
    ("kind", "group", "reached"),
    [
        (BatchKind.ranking, None, ["training"]),
        (BatchKind.evaluation, None, ["training", "held out"]),
        (BatchKind.evaluation, Group.held_out, ["held out"]),
        (BatchKind.screening, None, ["candidate"]),
        (BatchKind.grading, None, ["training"]),
    ],
)
def test_whom_a_batch_reaches(
    session: Session, project: Project, kind: BatchKind, group: Group | None, reached: list[str]
) -> None:
    """The count and the desk agree."""
    people: dict[str, Person] = {
        "training": make_person(session, project=project),
        "held out": make_person(session, project=project, group=Group.held_out),
        "candidate": make_person(session, project=project),
    }
    people["candidate"].state = PersonState.screening
    make_person(session)
    session.flush()
    batch = make_ranking_batch(session, project, kind=kind, group=group, items=3)
    assert count_labelers_for(session, batch) == len(reached)
    assert [name for name, person in people.items() if lease_next(session, person, project)] == reached


def test_training_items_come_first_and_known_answers_are_not_asked_twice(session: Session, project: Project) -> None:
    bank = make_ranking_batch(session, project, items=3)
    for item in session.scalars(select(Item).where(Item.batch_id == bank.id)):
        item.purpose, item.gold = ItemPurpose.gold, {"ranks": {}, "feedback": "So."}
    session.flush()
    asked = session.scalars(select(Item.prompt_id).where(Item.batch_id == bank.id).limit(1)).one()
    prompt = make_prompt(session, project)
    shown = {prompt.id: [make_completion(session, prompt) for _ in range(2)]}
    batch = service.create_ranking_batch(session, project, completions_by_prompt=shown, training_items=2)
    purposes = session.scalars(select(Item.purpose).where(Item.batch_id == batch.id).order_by(Item.position)).all()
    assert purposes == [ItemPurpose.training, ItemPurpose.training, ItemPurpose.ordinary]
    left = answered_items(session, project, besides={asked})
    assert len(left) == 2
    session.get_one(Prompt, left[0].prompt_id).is_retired = True
    session.flush()
    assert answered_items(session, project, besides={asked}) == left[1:], "a retired prompt is asked of nobody"
    assert asked not in {each.prompt_id for each in left}


def test_looking_for_such_items_reads_an_index(session: Session, project: Project) -> None:
    """A sweep every few seconds must not read a batch of a million items."""
    batch = make_ranking_batch(session, project)
    connection = session.connection()
    query = select(Item.id).where(Item.batch_id == batch.id, for_everyone).compile(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET enable_seqscan = off"))  # one row is read faster without any index
        connection.execute(text("SET enable_bitmapscan = off"))
        explain = f"EXPLAIN {query}"
    else:
        explain = f"EXPLAIN QUERY PLAN {query}"
    plan = connection.exec_driver_sql(
        explain, query.construct_params() if query.positional is False else (batch.id.hex,)
    )
    assert "ix_item_for_everyone" in str(plan.all())
