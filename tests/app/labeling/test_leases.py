"""Who gets which item: one place to one person, by priority, never one's own, never again."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.accounts.models import Group, PersonState
from app.core.clock import now
from app.core.db import reading, writing
from app.labeling.leases import count_left, lease_next, release_expired
from app.labeling.models import Assignment, AssignmentState, BatchKind, BatchState, Item, ItemCompletion
from app.labeling.schemas import Skip
from app.labeling.service import create_ranking_batch
from app.labeling.submissions import beat, skip
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_completion, make_person, make_project, make_prompt


def item_of(session: Session, assignment: Assignment | None) -> Item:
    assert assignment is not None
    item = session.get(Item, assignment.item_id, populate_existing=True)
    assert item is not None
    return item


def let_lease_run_out(session: Session, assignment: Assignment) -> None:
    assignment.lease_until = now() - timedelta(seconds=1)
    session.flush()


def test_asking_again_gives_the_lease_that_runs(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, items=3)
    mira = make_person(session, project=project)
    first = lease_next(session, mira, project)
    again = lease_next(session, mira, project)
    assert first is not None
    assert again is first
    assert item_of(session, first).taken == 1


def test_items_come_by_priority_and_then_in_their_order(session: Session) -> None:
    project = make_project(session)
    low = make_ranking_batch(session, project, items=1)
    high = make_ranking_batch(session, project, items=2, priority=5)
    people = [make_person(session, project=project) for _ in range(3)]
    items = [item_of(session, lease_next(session, person, project)) for person in people]
    assert [(item.batch_id, item.position) for item in items] == [(high.id, 0), (high.id, 1), (low.id, 0)]


def test_a_full_item_is_not_handed_out_again(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, overlap=2)
    people = [make_person(session, project=project) for _ in range(3)]
    leases = [lease_next(session, person, project) for person in people]
    assert [lease is not None for lease in leases] == [True, True, False]


@pytest.mark.parametrize("overlap", [1, 2])
def test_people_who_race_never_share_a_place(engine: Engine, overlap: int) -> None:
    """Eight people ask at the same moment for four items; each item is leased `overlap` times, none more often."""
    with writing(engine) as session:
        project = make_project(session)
        make_ranking_batch(session, project, items=4, overlap=overlap)
        people = [make_person(session, project=project) for _ in range(8)]
    start = threading.Barrier(len(people))
    wrong: list[BaseException] = []

    def ask(person: object) -> None:
        try:
            start.wait(20)
            with writing(engine) as session:
                lease_next(session, person, project)  # type: ignore[arg-type]
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with reading(engine) as session:
        leases = session.scalars(select(Assignment)).all()
        items = session.scalars(select(Item)).all()
    assert wrong == []
    assert Counter(lease.item_id for lease in leases) == {item.id: overlap for item in items}
    assert all(item.taken == overlap for item in items)
    assert len({lease.person_id for lease in leases}) == 4 * overlap


def test_two_tabs_of_one_person_get_one_item(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        make_ranking_batch(session, project, items=6)
        mira = make_person(session, project=project)
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait(20)
        with writing(engine) as session:
            lease_next(session, mira, project)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with reading(engine) as session:
        assert len(session.scalars(select(Assignment)).all()) == 1


def test_an_item_in_someone_elses_hands_is_waited_for_when_nothing_else_is_left(engine: Engine) -> None:
    """The only item has two places, and its row is locked by who takes the first: the second is got, not missed."""
    with writing(engine) as session:
        project = make_project(session)
        make_ranking_batch(session, project, overlap=2)
        mira, noor = (make_person(session, project=project) for _ in range(2))
    got: list[Assignment | None] = []

    def ask() -> None:
        with writing(engine) as session:
            got.append(lease_next(session, noor, project))

    thread = threading.Thread(target=ask)
    with writing(engine) as session:
        first = lease_next(session, mira, project)
        thread.start()
        if engine.dialect.name == "postgresql":
            wait_for_a_lock(engine)
    thread.join(30)
    assert first is not None
    assert got[0] is not None
    assert got[0].item_id == first.item_id


def wait_for_a_lock(engine: Engine) -> None:
    """Until another connection waits for a row that someone holds."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = now() + timedelta(seconds=20)
    with engine.connect() as connection:
        while not connection.scalar(waiting):
            assert now() < deadline, "no one waits for a lock"
            connection.rollback()


def test_a_lease_that_ran_out_goes_to_the_next_who_asks(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    lost = lease_next(session, mira, project)
    assert lost is not None
    assert lease_next(session, noor, project) is None
    let_lease_run_out(session, lost)
    taken = lease_next(session, noor, project)
    assert taken is not None
    assert taken.item_id == lost.item_id
    assert lost.state == AssignmentState.expired
    assert item_of(session, taken).taken == 1
    assert lease_next(session, mira, project) is None


def test_a_lease_begun_under_a_clock_that_ran_ahead_does_not_last_until_then(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    lost = lease_next(session, mira, project)
    assert lost is not None
    lost.lease_until += timedelta(days=400)
    session.flush()
    taken = lease_next(session, noor, project)
    assert taken is not None
    assert (taken.item_id, lost.state) == (lost.item_id, AssignmentState.expired)


def test_releasing_counts_the_leases_that_ran_out_and_gives_each_place_back_once(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, items=1, overlap=2)
    leases = [lease_next(session, make_person(session, project=project), project) for _ in range(2)]
    for lease in leases:
        assert lease is not None
        let_lease_run_out(session, lease)
    assert release_expired(session) == 2
    assert release_expired(session) == 0
    assert item_of(session, leases[0]).taken == 0


def test_who_comes_back_late_gets_the_item_with_its_draft_back(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, items=2)
    mira = make_person(session, project=project)
    lost = lease_next(session, mira, project)
    assert lost is not None
    lost.draft = {"note": "half done"}
    let_lease_run_out(session, lost)
    release_expired(session)
    again = lease_next(session, mira, project)
    assert again is lost
    assert again.state == AssignmentState.leased
    assert item_of(session, again).taken == 1


def test_a_heartbeat_takes_a_lost_place_back_only_while_it_is_free(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    lost = lease_next(session, mira, project)
    assert lost is not None
    let_lease_run_out(session, lost)
    release_expired(session)
    assert beat(session, mira, lost.id).state == AssignmentState.leased
    let_lease_run_out(session, lost)
    assert lease_next(session, noor, project) is not None
    assert beat(session, mira, lost.id).state == AssignmentState.expired
    assert item_of(session, lost).taken == 1


def test_no_one_ranks_a_completion_of_their_own(session: Session) -> None:
    project = make_project(session)
    prompt = make_prompt(session, project)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    completions = [make_completion(session, prompt, person=mira), make_completion(session, prompt)]
    create_ranking_batch(session, project, completions_by_prompt={prompt.id: completions})
    assert lease_next(session, mira, project) is None
    assert lease_next(session, noor, project) is not None


@pytest.mark.parametrize(
    ("kind", "group", "gets"),
    [
        (BatchKind.ranking, None, False),
        (BatchKind.demonstration, None, False),
        (BatchKind.ranking, Group.training, False),
        (BatchKind.ranking, Group.held_out, True),
        (BatchKind.evaluation, None, True),
        (BatchKind.evaluation, Group.training, False),
    ],
)
def test_held_out_labelers_get_nothing_to_train_on_unless_the_batch_says_so(
    session: Session, kind: BatchKind, group: Group | None, gets: bool
) -> None:
    project = make_project(session)
    if kind == BatchKind.demonstration:
        make_demonstration_batch(session, project)
    else:
        make_ranking_batch(session, project, kind=kind, group=group)
    held_out = make_person(session, group=Group.held_out, project=project)
    assert (lease_next(session, held_out, project) is not None) == gets


def test_a_batch_for_held_out_labelers_is_not_for_training_labelers(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, group=Group.held_out)
    assert lease_next(session, make_person(session, project=project), project) is None


def test_screening_people_get_screening_only(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project)
    newcomer = make_person(session, project=project)
    newcomer.state = PersonState.screening
    assert lease_next(session, newcomer, project) is None
    make_ranking_batch(session, project, kind=BatchKind.screening)
    assert lease_next(session, newcomer, project) is not None


@pytest.mark.parametrize("state", [BatchState.paused, BatchState.closed])
def test_a_batch_that_is_not_open_hands_out_nothing(session: Session, state: BatchState) -> None:
    project = make_project(session)
    batch = make_ranking_batch(session, project)
    batch.state = state
    session.flush()
    assert lease_next(session, make_person(session, project=project), project) is None


def test_items_of_another_project_and_retired_prompts_stay_away(session: Session) -> None:
    project, other = make_project(session), make_project(session, name="Another")
    make_ranking_batch(session, other)
    prompt = make_prompt(session, project)
    completions = [make_completion(session, prompt) for _ in range(2)]
    create_ranking_batch(session, project, completions_by_prompt={prompt.id: completions})
    prompt.is_retired = True
    session.flush()
    mira = make_person(session, project=project)
    assert lease_next(session, mira, project) is None
    assert count_left(session, mira, project) == 0


def test_a_skipped_item_does_not_come_back_to_who_skipped_it(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    assignment = lease_next(session, mira, project)
    assert assignment is not None
    skip(session, mira, assignment.id, Skip(reason="unsafe"))
    assert lease_next(session, mira, project) is None
    assert lease_next(session, noor, project) is not None


def test_completions_are_shuffled_for_each_labeler(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, completions=9, overlap=6)
    orders = []
    for _ in range(6):
        assignment = lease_next(session, make_person(session, project=project), project)
        assert assignment is not None
        orders.append(tuple(assignment.shown_order))
    there = {str(each) for each in session.scalars(select(ItemCompletion.completion_id))}
    assert all(set(order) == there for order in orders)
    assert len(set(orders)) > 1


def test_what_is_left_counts_what_this_person_could_still_get(session: Session) -> None:
    project = make_project(session)
    make_ranking_batch(session, project, items=5)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    lease_next(session, mira, project)
    assert count_left(session, mira, project) == 4
    assert count_left(session, noor, project) == 4
