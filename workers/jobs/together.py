"""A run's training, here or in as many processes as it asks for, which torchrun starts and this process speaks for."""

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import torch

from app.runs.configs import TrainingConfig
from workers.jobs.claimed import Claimed
from workers.training.launched import TOLD, ask_desk, trainer_named, write_task
from workers.training.loop import CannotTrain, Outcome, Sample, Signal, Step, TrainingFailed
from workers.training.sampling_workers import Desk

DEATHS = 3  # in a row and without a new checkpoint: then the run fails
LOOKS = 0.5  # seconds between looks at whether torchrun still lives
GRACE = 60.0  # seconds in which the processes may end by themselves


def train(
    claimed: Claimed, trainer: str, examples: Sequence[object], *, desk: Desk | None = None, **given: Any
) -> Outcome:
    """Calls a trainer by its name, in this process or in several; `desk` is its way to sampling workers."""
    config = claimed.config
    assert isinstance(config, TrainingConfig)
    if config.processes == 1:
        return trainer_named(trainer)(config, examples, claimed, **given, **({"desk": desk} if desk else {}))
    refuse_too_many(config.processes)
    deaths = 0
    while deaths < DEATHS:
        talk = Talk(claimed, desk)
        with tempfile.TemporaryDirectory(prefix="touchstone-") as folder:
            task = write_task(Path(folder) / "task.json", trainer, config, examples, has_desk=desk is not None, **given)
            outcome = talk.through(task, Path(folder) / "line", processes=config.processes)
        if outcome is not None:
            return outcome
        deaths = 1 if talk.got_further else deaths + 1
        claimed.log("One of the run's processes died; all start again from the last checkpoint.", level="warning")
    raise TrainingFailed(
        f"The run's {config.processes} processes died {deaths} times in a row without getting further. Too little "
        "memory is the usual cause: look at the worker's own output, or use smaller micro-batches or fewer processes."
    )


def refuse_too_many(processes: int) -> None:
    """A process for each GPU, or, where there is none, for each CPU core at most."""
    gpus = torch.cuda.device_count()
    most, what = (gpus, "GPUs") if gpus else (len(os.sched_getaffinity(0)), "CPU cores")
    if processes > most:
        raise CannotTrain(
            f"This run asks for {processes} processes, and this worker has {most} {what}. Set processes to {most} at "
            "most, or start a worker on a larger machine."
        )


def torchrun(task: Path, line: Path, *, processes: int) -> list[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*command, "-m", "workers.training.launched", str(task), "--to", str(line)]


class Talk:
    """One life of the processes: started, listened to, answered, and ended with it."""

    def __init__(self, on_step: Callable[[Step], Signal], desk: Desk | None = None) -> None:
        self.on_step, self.desk = on_step, desk
        self.got_further = False  # whether there is a new checkpoint
        self.selector = selectors.DefaultSelector()

    def through(self, task: Path, line: Path, *, processes: int) -> Outcome | None:
        """Speak with the processes until they are done. None: one of them was killed."""
        threads = max(1, len(os.sched_getaffinity(0)) // processes)
        environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
        with closing(socket.socket(socket.AF_UNIX)) as listener, closing(self.selector):
            listener.bind(str(line))
            listener.listen()
            self.selector.register(listener, selectors.EVENT_READ)
            # In a session of its own: what ends this worker reaches the run through its claim, not its terminal.
            agent = subprocess.Popen(torchrun(task, line, processes=processes), env=environment, start_new_session=True)
            try:
                outcome = self._listen(listener, agent)
                if outcome is not None:
                    with suppress(subprocess.TimeoutExpired):
                        agent.wait(timeout=GRACE)
                return outcome
            except ConnectionError:  # who had something to say, or to hear, was killed
                return None
            finally:
                self._cut()
                _end(agent)

    def _listen(self, listener: socket.socket, agent: subprocess.Popen[bytes]) -> Outcome | None:
        """A line that ends without a word is a death; what the others then say of their lost neighbour is no reason."""
        while True:
            ready = self.selector.select(timeout=LOOKS)
            if not ready and agent.poll() is not None:
                return None
            said: list[tuple[str, Any]] = []
            for key, _ in ready:
                if key.fileobj is listener:
                    connection = listener.accept()[0]
                    self.selector.register(connection, selectors.EVENT_READ, connection.makefile())
                else:
                    said.append((key.data.readline(), key.fileobj))
            heard = [(json.loads(words), connection) for words, connection in said if words]
            finished = next((message["outcome"] for message, _ in heard if "outcome" in message), None)
            if finished:
                return Outcome(**finished)
            if len(heard) < len(said):
                return None
            for message, connection in heard:
                self._answer(message, connection)

    def _answer(self, message: dict[str, Any], connection: socket.socket) -> None:
        """Pass a step or a wish on and the answer back; what broke ends the talk."""
        ((kind, said),) = message.items()
        if kind == "step":
            step = Step(**said | {"samples": tuple(Sample(**sample) for sample in said["samples"])})
            answer: str = self.on_step(step)
            self.got_further |= step.checkpointed
        elif kind == "desk" and self.desk is not None:
            answer = ask_desk(self.desk, said)
        else:
            raise TOLD.get(kind, RuntimeError)(said)
        connection.sendall(f"{answer}\n".encode())

    def _cut(self) -> None:
        """Whoever still works hears that nobody listens any more, and ends."""
        for key in list(self.selector.get_map().values()):
            if key.data is not None:
                key.data.close()
                key.fileobj.close()


def _end(agent: subprocess.Popen[bytes]) -> None:
    if agent.poll() is None:
        agent.terminate()
        try:
            agent.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()
