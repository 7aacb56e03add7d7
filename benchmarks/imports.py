"""How fast a file of prompts comes in, and in how much memory.

    python -m benchmarks.datasets imports --rows 1000000 --steps near prefix cap

A JSONL file of prompts of 20 to 60 words is sent, a tenth of them near duplicates of an earlier one, and imported on
SQLite in a process of its own, as the worker does it. The memory is the most that the process held, Python included.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from fastapi import UploadFile

from app.accounts import service as accounts
from app.accounts.models import Role
from app.core.db import reading, writing
from app.core.migrate import migrate_database
from app.core.storage import get_artefacts
from app.projects import service as projects
from app.prompts.intake import sending, service
from app.prompts.intake.settings import ImportSettings
from app.prompts.models import PromptImport
from workers.jobs import prompt_import
from workers.jobs.pulse import Pulse

Stage = Callable[[prompt_import.Held], None]
WORDS = [f"word{number:x}" for number in range(4096)]
STEPS: dict[str, dict[str, object]] = {
    "near": {"near_alike": 0.8},
    "prefix": {"prefix_characters": 200},
    "cap": {"most_of_one": 200},
    "language": {"find_language": True},
    "personal": {"personal_data": "mask"},
}


def lines(count: int) -> Iterator[str]:
    chance = random.Random(5)
    earlier: list[list[str]] = []
    for number in range(count):
        if number % 10 == 9:
            words = list(chance.choice(earlier))
            words[-1] = chance.choice(WORDS)
        else:
            words = chance.choices(WORDS, k=chance.randint(20, 60))
            earlier = [*earlier[-999:], words]
        row = {"prompt": " ".join(words), "organisation": f"organisation {chance.randint(0, count // 50)}"}
        yield json.dumps(row) + "\n"


def send(count: int, steps: list[str]) -> tuple[uuid.UUID, float]:
    """A draft that is started, and how many MiB were sent."""
    migrate_database()
    file = Path(os.environ["TOUCHSTONE_STATE_DIR"]) / "prompts.jsonl"
    with file.open("w") as out:
        out.writelines(lines(count))
    chosen: dict[str, object] = {"columns": {"prompt": "prompt", "organisation": "organisation"}}
    for step in steps:
        chosen |= STEPS[step]
    with writing() as session, file.open("rb") as content:
        admin = accounts.add_person(session, "admin@example.org", name="Admin", role=Role.admin)
        row = sending.send(
            session, projects.create_project(session, "Million", slug="million"), by=admin, store=get_artefacts(),
            file=UploadFile(content, filename="prompts.jsonl"), settings=ImportSettings.model_validate(chosen),
        )  # fmt: skip
        service.start(session, row, by=admin)
        return row.id, file.stat().st_size / 2**20


def work(import_id: uuid.UUID) -> dict[str, object]:
    """In this process: call it in a fresh one."""
    began, stages = time.perf_counter(), dict[str, float]()
    for name in ("_check", "_take", "_settle"):
        setattr(prompt_import, name, _timed(name, getattr(prompt_import, name), stages))
    prompt_import.work_on(import_id, Pulse())
    with reading() as session:
        row = session.get_one(PromptImport, import_id)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "MiB": used.ru_maxrss / 1024}
    return {"state": row.state, "stages": stages, "counts": row.counts, **figures}


def _timed(name: str, stage: Stage, stages: dict[str, float]) -> Stage:
    def timed(held: prompt_import.Held) -> None:
        began = time.perf_counter()
        stage(held)
        stages[name.strip("_")] = time.perf_counter() - began

    return timed


def main(name: str, arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=[])
    parser.add_argument("--work", type=uuid.UUID, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work:
        print(json.dumps(work(asked.work)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TOUCHSTONE_STATE_DIR"] = folder
        import_id, size = send(asked.rows, asked.steps)
        command = [sys.executable, "-m", "benchmarks.datasets", "imports", "--work", str(import_id)]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        stored = sum(file.stat().st_size for file in Path(folder).glob("touchstone.db*")) / 2**20
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in said["stages"].items())
    print(f"{asked.rows:,} rows, {size:,.0f} MiB, steps: {' '.join(asked.steps) or 'none'}: {said['state']}")
    speed = f"{said['seconds']:.0f} s ({asked.rows / said['seconds']:,.0f} rows/s; {stages}), {said['cpu']:.0f} CPU s"
    print(f"{speed}, at most {said['MiB']:,.0f} MiB")
    print(f"database {stored:,.0f} MiB; {said['counts']}")
