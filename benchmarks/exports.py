"""How fast, and in how much memory, a million comparisons go out.

    python -m benchmarks.datasets exports --pairs 1000000 --completions 2 4 9 --forms preference rankings

For each K a snapshot of as many rankings as make a million pairs is written (prompts and completions of 20 to 60 words,
ratings and flags for each completion, no ties), then exported in a process of its own as a download is: the bytes are
counted and dropped. The memory is the most that the process held, Python and pyarrow included.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from app.core.db import new_id
from app.datasets import parquet
from app.datasets.export_files import export
from app.datasets.exports import ExportForm, FileType, needed
from app.datasets.models import SnapshotKind
from app.datasets.rows import Row

TEXTS = 50_000
KIND = SnapshotKind.comparisons
WORDS = [f"word{number:x}" for number in range(4096)]


def texts(chance: random.Random) -> list[str]:
    return [" ".join(chance.choices(WORDS, k=chance.randint(20, 60))) for _ in range(TEXTS)]


def rankings(count: int, k: int) -> Iterator[Row]:
    chance = random.Random(k)
    written = texts(chance)
    for _ in range(count):
        yield {
            "id": str(new_id()),
            "prompt_id": str(new_id()),
            "messages": [{"role": "user", "content": chance.choice(written)}],
            "completions": chance.sample(written, k),
            "ranks": chance.sample(range(1, k + 1), k),
            "models": ["sft"] * k,
            "ratings": [[{"key": "overall", "value": chance.randint(1, 7)}] for _ in range(k)],
            "flags": [["hallucination"] if chance.random() < 0.1 else [] for _ in range(k)],
            "flags_asked": ["fails_task", "hallucination"],
            "note": "",
            "all_bad": False,
            "split": "train",
            "use_case": "generation",
            "group": str(new_id()),
            "labeler": f"labeler-{chance.randint(0, 39)}",
            "simulated": False,
            "round": 1,
            "labeled_at": datetime(2026, 1, 2, tzinfo=UTC),
        }


def measure(file: Path, form: ExportForm, file_type: FileType) -> dict[str, float]:
    """In this process: call it in a fresh one."""
    began, worked, size, lines = time.perf_counter(), time.process_time(), 0, 0
    with file.open("rb") as stored:
        for block in export(KIND, parquet.read_rows(stored, needed(form)), form=form, file_type=file_type):
            size += len(block)
            lines += block.count(b"\n")
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": lines, "seconds": seconds, "cpu": cpu, "mib": size / 2**20, "peak": peak}


def measured_apart(file: Path, form: ExportForm, file_type: FileType) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.datasets",
        "exports",
        "--measure",
        str(file),
        form.value,
        file_type.value,
    ]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main(name: str, arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--completions", type=int, nargs="+", default=[2, 4, 9])
    parser.add_argument("--forms", type=ExportForm, nargs="+", default=[ExportForm.preference, ExportForm.rankings])
    parser.add_argument("--types", type=FileType, nargs="+", default=[FileType.jsonl])
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        file, form, file_type = options.measure
        print(json.dumps(measure(Path(file), ExportForm(form), FileType(file_type))))
        return
    print(
        "| form | file | K | lines | MiB | s | CPU s | lines/s | lines/CPU s | most memory, MiB |\n" + "|---" * 9 + "|"
    )
    for k in options.completions:
        count = -(-options.pairs // (k * (k - 1) // 2))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "snapshot.parquet"
            with file.open("wb") as stored:
                parquet.write_rows(stored, rankings(count, k), parquet.COLUMNS[KIND])
            for form in options.forms:
                for file_type in options.types:
                    found = measured_apart(file, form, file_type)
                    rates = [f"{found['rows'] / found[name]:,.0f}" for name in ("seconds", "cpu")]
                    took = [f"{found[name]:.1f}" for name in ("seconds", "cpu")]
                    size, peak = f"{found['mib']:,.0f}", f"{found['peak']:.0f}"
                    told = [form, file_type, k, f"{found['rows']:,}", size, *took, *rates, peak]
                    print("|", " | ".join(map(str, told)), "|", flush=True)
