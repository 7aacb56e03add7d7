"""Ctrl-C stops everything and loses nothing; so does the end of `touchstone up` without a word."""

import signal
import socket
import time

import psutil
import pytest

from app.runs.models import RunState
from app.startup import claim_state_folder
from tests.system.world import KILLED_AT, World

pytestmark = pytest.mark.train


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.prove)])
def test_a_stopped_installation_leaves_nothing_running_and_goes_on(world: World, number: signal.Signals) -> None:
    here, loop = world.here, world.loop
    expected = world.left_by(world.undisturbed("sft").id)
    run_id = world.start("sft")
    loop.wait_for_step(run_id, KILLED_AT["sft"])
    everything = [psutil.Process(here.process.pid), *here.children()]
    began = time.monotonic()
    here.stop(number)
    print(f"\nstopped by {number.name} in {time.monotonic() - began:.1f} s")

    assert psutil.wait_procs(everything, timeout=10)[1] == [], "processes are left"
    claim_state_folder(here.folder).close()
    with socket.create_server(("127.0.0.1", here.port)):
        pass
    left = loop.run_row(run_id)
    if number == signal.SIGINT:
        assert left.state == RunState.queued, "the worker did not give its run back"
        assert left.checkpoint_step == left.step
    assert left.step < (left.total_steps or 0), "it was stopped too late to prove anything"

    began = time.monotonic()
    here.start()
    loop.wait_for_step(run_id, left.step + 1)
    print(f"the run went on {time.monotonic() - began:.1f} s after the start")
    loop.wait(run_id, seconds=120)
    assert world.left_by(run_id) == expected
