"""One of several processes that train together: `torchrun --nproc-per-node 8 -m workers.training.launched TASK`.

TASK is a file that `write_task` wrote: the trainer's name, its settings, examples and folders, which all processes must
be able to read. Several nodes need torchrun's own words on each of them:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
        -m workers.training.launched TASK

The first process writes a line of JSON for each step. With `--to SOCKET` it tells the process that listens there
instead, and asks it whether to go on; when that one dies, all of these end at once, before another could start the run.
"""

import argparse
import importlib
import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import torch
from pydantic import BaseModel

from app.datasets import examples as rows
from workers.training import processes
from workers.training.loop import CannotTrain, Outcome, Signal, Step, TrainingFailed
from workers.training.ppo_shares import Share
from workers.training.sampling_workers import Desk, Word

Json = dict[str, Any]
TOLD = {"refused": CannotTrain, "failed": TrainingFailed, "memory": MemoryError}  # what has its own words there


def write_task(
    file: Path, trainer: str, config: BaseModel, examples: Sequence[object], *, has_desk: bool = False, **given: object
) -> Path:
    """What a trainer is to be called with; with `has_desk` sampling workers are reached through who listens."""
    task = {"trainer": trainer, "config": config.model_dump(mode="json"), "examples": _plain(examples)}
    task["has_desk"] = has_desk
    file.write_text(json.dumps(task | {"given": {name: _plain(value) for name, value in given.items()}}))
    return file


def trainer_named(name: str) -> Callable[..., Outcome]:
    """`train` of a module of workers.training, or `module:function`."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"workers.training.{module}"), function or "train")


def work(task: Json, on_step: Callable[[Step], Signal], **also: object) -> Outcome:
    train = trainer_named(task["trainer"])
    config = get_type_hints(train)["config"].model_validate(task["config"])
    given = {name: _restored(value) for name, value in task["given"].items()}
    return train(config, _restored(task["examples"]), processes.agreed(on_step), **given, **also)


def _plain(value: Any) -> Any:
    """A path, an example, or a list of them, as JSON."""
    if isinstance(value, Path):
        return {"path": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {"row": type(value).__name__, "of": asdict(value)}
    return value if value is None else [_plain(each) for each in value]


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(each) for each in value]
    if value is None:
        return None
    if "path" in value:
        return Path(value["path"])
    return getattr(rows, value["row"])(**value["of"])


class Line:
    """The connection to who launched these processes. When it is cut, there is nobody left to work for."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(address)
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with self.socket.makefile() as answers:
            for answer in answers:
                self.answers.put(answer.strip())
        os._exit(1)  # at once: another worker may be about to take the run

    def tell(self, message: Json) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def ask(self, step: Step) -> Signal:
        return Signal(self.request({"step": asdict(step)}))

    def request(self, message: Json) -> str:
        """Tell, and wait for the answer."""
        self.tell(message)
        return self.answers.get()


class DeskAfar(Desk):
    """The way to the sampling workers, which the process at the other end of the line knows."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def put_out(self, files: list[str]) -> None:
        self.line.request({"desk": {"files": files}})

    def ask(self, share: Share) -> None:
        self.line.request({"desk": {"ask": asdict(share)}})

    def look(self, share: Share) -> Word:
        return Word(self.line.request({"desk": {"look": asdict(share)}}))


def ask_desk(desk: Desk, request: Json) -> str:
    """What DeskAfar is told at the other end."""
    ((wish, about),) = request.items()
    if wish == "look":
        return desk.look(Share(**about))
    if wish == "ask":
        desk.ask(Share(**about))
    else:
        desk.put_out(about)
    return "done"


def report(task: Json, line: Line) -> None:
    """Work, and tell how it ended."""
    also = {"desk": DeskAfar(line)} if task["has_desk"] else {}
    try:
        outcome = work(task, line.ask, **also)
    except Exception as error:  # the edge of a process: whatever broke, the other side must hear of it
        line.tell({_kind(error): str(error)})
        raise
    processes.from_main(lambda: line.tell({"outcome": asdict(outcome)}))  # the others stay until it is told


def _kind(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "memory"
    return next((kind for kind, type_ in TOLD.items() if isinstance(error, type_)), "broke")


def show(step: Step) -> Signal:
    print(json.dumps({"step": step.number, "of": step.total, **step.metrics}), flush=True)
    return Signal.CONTINUE


def main() -> NoReturn:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path)
    parser.add_argument("--to", metavar="SOCKET")
    asked = parser.parse_args()
    line = Line(asked.to) if asked.to else None  # before the others are met, so that a death is seen from the start
    processes.join()
    task = json.loads(asked.task.read_text())
    if line:
        report(task, line)
    else:
        work(task, show)
    processes.leave()


if __name__ == "__main__":
    main()
