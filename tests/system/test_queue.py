"""The queue is only nudges: emptied, it is filled again from the rows."""

import pytest
from redis import Redis

from app.core.embedded_redis import short_socket
from app.runs.models import RunState
from tests.system.world import KILLED_AT, World

pytestmark = pytest.mark.train


def test_a_queued_run_whose_message_is_lost_runs_all_the_same(world: World) -> None:
    expected = world.left_by(world.undisturbed("sampling").id)
    first = world.start("sft")
    world.loop.wait_for_step(first, KILLED_AT["sft"])
    second = world.start("sampling")
    with Redis(unix_socket_path=str(short_socket(world.here.folder / "redis.sock"))) as redis:
        assert redis.llen("touchstone") >= 1, "the second run's message does not wait in the queue"
        redis.flushall()
    assert world.loop.run_row(first).state == RunState.running
    world.loop.wait(first, seconds=120)
    world.loop.wait(second, seconds=120)
    assert world.left_by(second) == expected


def test_a_run_whose_message_comes_many_times_and_late_is_done_once(world: World) -> None:
    """The oldest message last, and each eight times: also those of runs that ended long ago."""
    expected = world.left_by(world.undisturbed("sampling").id)
    old, first = world.undisturbed("sampling").id, world.start("sft")
    world.loop.wait_for_step(first, 1)
    second = world.start("sampling")
    for run_id in (second, old, first) * 8:
        world.send_again(run_id)
    world.loop.wait(first, seconds=120)
    world.loop.wait(second, seconds=120)
    for run_id in (second, old, first):
        world.send_again(run_id)
    assert world.left_by(second) == expected
    assert world.left_by(old) == expected
    assert world.loop.run_row(second).attempts == world.loop.run_row(first).attempts == 1


@pytest.mark.prove
def test_a_run_made_while_redis_does_not_answer_waits_for_it(world: World) -> None:
    expected = world.left_by(world.undisturbed("sampling").id)
    redis = world.here.child("redis")
    redis.suspend()
    try:
        run_id = world.start("sampling")
    finally:
        redis.resume()
    world.loop.wait(run_id, seconds=120)
    assert world.left_by(run_id) == expected
