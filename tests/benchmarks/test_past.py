"""The finished items that the benchmark copies are such as labelers would have left."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text

from app.core.db import reading
from app.labeling.models import Assignment, AssignmentState, Completion, Item, Ranking, RankingPlace, Rating
from benchmarks.past import RATED
from benchmarks.website import World, prepare


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = prepare(database_url, people=4, fresh=6, items=12, rankings=36)
    yield made
    made.engine.dispose()


def test_finished_items_are_copied_with_all_that_labelers_left(world: World) -> None:
    with reading(world.engine) as session:
        copies = session.scalars(select(Item).where(Item.wanted == 3)).all()
        assert {(each.taken, each.got) for each in copies} == {(3, 3)}
        assert len(copies) == 12
        for item in copies:
            completions = set(session.scalars(select(Completion.id).where(Completion.prompt_id == item.prompt_id)))
            rankings = session.scalars(select(Ranking).where(Ranking.item_id == item.id)).all()
            assert len({each.person_id for each in rankings}) == 3
            for ranking in rankings:
                places = session.scalars(select(RankingPlace).where(RankingPlace.ranking_id == ranking.id)).all()
                assert {each.completion_id for each in places} == completions
                assert sorted(each.rank for each in places) == list(range(1, len(completions) + 1))
                assignment = session.get_one(Assignment, ranking.assignment_id)
                assert (assignment.item_id, assignment.person_id) == (item.id, ranking.person_id)
                assert assignment.state == AssignmentState.submitted
            rated = select(func.count()).select_from(Rating).join(Ranking, Ranking.id == Rating.ranking_id)
            rated = rated.where(Ranking.item_id == item.id)
            assert session.scalar(rated) == RATED * len(completions)


def test_every_number_of_completions_is_there(world: World) -> None:
    with reading(world.engine) as session:
        places = select(func.count()).select_from(RankingPlace).join(Ranking).join(Item).where(Item.wanted == 3)
        assert set(session.scalars(places.group_by(Ranking.id))) == {4, 5, 6, 7, 8, 9}


def test_copies_point_at_rows_that_are_there(sqlite_url: str) -> None:
    """The fill switches the check of foreign keys off."""
    world = prepare(sqlite_url, people=4, fresh=6, items=12, rankings=36)
    with world.engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    world.engine.dispose()


def test_only_what_is_fresh_waits(world: World) -> None:
    with reading(world.engine) as session:
        assert session.scalar(select(func.count()).where(Item.taken < Item.wanted)) == 6
