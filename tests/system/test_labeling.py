"""`kill -9` in the middle of labeling: nothing that was acknowledged is lost, and nothing is there twice."""

import uuid
from collections import Counter
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.core.db import reading, writing
from app.labeling.models import Assignment, AssignmentState, Batch, BatchState, Item, Ranking, RankingPlace
from app.projects.service import project_by_slug
from app.runs.models import Run
from tests.app.labeling.rows import make_ranking_batch
from tests.system.labelers import Labelers
from tests.system.world import World

pytestmark = pytest.mark.train

LABELERS = 6
OVERLAP = 6  # labelers for each of the 24 items
ORDINARY = ("web", "redis", "worker")
OFTEN = ("web", "redis", "web", "worker", "web", "worker web redis scheduler", "scheduler", "redis", "web")


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(ORDINARY, id="once"),
        pytest.param(OFTEN, id="often", marks=pytest.mark.prove),
    ],
)
def test_what_is_acknowledged_is_stored_once(world: World, victims: tuple[str, ...]) -> None:
    label_under_fire(world, victims)


@pytest.mark.prove
def test_what_is_acknowledged_is_stored_once_on_postgresql(world_on_postgresql: World) -> None:
    label_under_fire(world_on_postgresql, ORDINARY)


def label_under_fire(world: World, victims: tuple[str, ...]) -> None:
    close_batches(world)
    sampled = world.loop.wait(world.start("sampling"))
    with Labelers(world.here.address, world.loop.engine, world.loop.slug, LABELERS) as labelers:
        labelers.wait_for_next()
        for victim in victims:
            world.here.kill(*victim.split())
            print(f"\n{victim} killed; the next submission was acknowledged {labelers.wait_for_next():.1f} s later")
            assert len(labelers.acknowledged) < 24 * OVERLAP, "the labelers were done before the kills were"
        labelers.work_to_the_end()
    print(f"{labelers.unanswered} requests found no answer and were sent again")
    stored = read_batch(world, sampled)
    assert {str(each.id): stored.ranks[each.id] for each in stored.assignments} == labelers.acknowledged
    assert_places_add_up(stored)


def test_thirty_two_labelers_at_once_are_never_told_that_the_database_is_locked(world: World) -> None:
    """Whatever is no success is an error of the labelers'."""
    close_batches(world)
    with writing(world.loop.engine) as session:
        make_ranking_batch(session, project_by_slug(session, world.loop.slug), items=64)
    with Labelers(world.here.address, world.loop.engine, world.loop.slug, 32) as labelers:
        labelers.work_to_the_end()
    assert len(labelers.acknowledged) == 64
    assert labelers.unanswered == 0
    assert not [line for line in world.here.said if "locked" in line]


def close_batches(world: World) -> None:
    """What other tests left to label is not handed out."""
    with writing(world.loop.engine) as session:
        session.execute(update(Batch).values(state=BatchState.closed))


@dataclass
class Stored:
    """All that the database has of one batch."""

    items: list[Item]
    assignments: list[Assignment]
    rankings: list[Ranking]
    ranks: dict[uuid.UUID, dict[str, int]] = field(default_factory=dict)  # by assignment and letter


def read_batch(world: World, run: Run) -> Stored:
    with reading(world.loop.engine) as session:
        batch = session.scalars(select(Batch).where(Batch.run_id == run.id)).one()
        items = list(session.scalars(select(Item).where(Item.batch_id == batch.id)))
        ids = [item.id for item in items]
        stored = Stored(
            items=items,
            assignments=list(session.scalars(select(Assignment).where(Assignment.item_id.in_(ids)))),
            rankings=list(session.scalars(select(Ranking).where(Ranking.item_id.in_(ids)))),
        )
        for ranking in stored.rankings:
            stored.ranks[ranking.assignment_id] = ranks_by_letter(session, ranking)
    return stored


def ranks_by_letter(session: Session, ranking: Ranking) -> dict[str, int]:
    """The ranks under the letters that this labeler saw."""
    shown = session.get_one(Assignment, ranking.assignment_id).shown_order
    letters = {uuid.UUID(completion): letter for completion, letter in zip(shown, "ABCDEFGHI", strict=False)}
    places = session.scalars(select(RankingPlace).where(RankingPlace.ranking_id == ranking.id))
    return dict(sorted((letters[place.completion_id], place.rank) for place in places))


def assert_places_add_up(stored: Stored) -> None:
    """Every item has the judgments it wanted, each by another labeler, each one ranking."""
    assert {each.state for each in stored.assignments} == {AssignmentState.submitted}
    assert Counter(ranking.assignment_id for ranking in stored.rankings) == Counter(
        each.id for each in stored.assignments
    )
    people = Counter((each.item_id, each.person_id) for each in stored.assignments)
    assert set(people.values()) == {1}, "a labeler had an item twice"
    for item in stored.items:
        held = sum(each.item_id == item.id for each in stored.assignments)
        assert held == item.taken == item.got == item.wanted == OVERLAP
