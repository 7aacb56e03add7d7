"""How fast the desk is: labelers in a closed loop against the real web process, on SQLite and on PostgreSQL.

    python -m benchmarks.labeling                          # both databases, one, eight and thirty-two labelers
    python -m benchmarks.labeling --also label-studio      # Label Studio after it, and both in one table
    python -m benchmarks.labeling --items 1000000 --rankings 2000000 --folder /big/disk

Each labeler signs in over HTTP, then asks for the next item and hands it in with ranks, ratings and flags, without a
pause: a shape of stress. What one person feels is the row of one labeler. Every acknowledged ranking is looked up in
the database afterwards.
"""

import argparse
import asyncio
import random
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from sqlalchemy import create_engine

from benchmarks import label_studio
from benchmarks.desk import Desk
from benchmarks.http import Client
from benchmarks.report import Row, compare, heading
from benchmarks.rounds import work
from benchmarks.stored import look_up
from benchmarks.website import Website, postgresql, prepare, top_up


def main() -> None:
    asked = _arguments().parse_args()
    if asked.also:
        label_studio.install()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="touchstone-benchmark-"))
    try:
        for database in asked.database:
            ours = _measure(asked, database, folder / database)
            if asked.also:
                theirs = _measure_label_studio(asked, database, folder / f"label-studio-{database}")
                for rows in ours:
                    print(f"\n{compare(database, rows, theirs)}")
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--also", choices=["label-studio"], help="measure it too, in an environment of its own")
    parser.add_argument("--next", nargs="+", choices=["page", "api"], default=["page"], help="how an item is asked for")
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 8, 32], help="labelers at once")
    parser.add_argument("--processes", type=int, default=1, help="web processes, as TOUCHSTONE_WEB_PROCESSES sets")
    parser.add_argument("--seconds", type=float, default=15, help="of each level, after 2 to warm up")
    parser.add_argument("--fresh", type=int, default=6000, help="items that wait for labelers at each level")
    parser.add_argument("--items", type=int, default=0, help="finished items that are there before")
    parser.add_argument("--rankings", type=int, default=0, help="rankings of those, one or more for each")
    parser.add_argument("--folder", type=Path, help="keep the databases here, and use them again")
    return parser


def _measure(asked: argparse.Namespace, database: str, folder: Path) -> list[list[Row]]:
    """A list of levels for each way of asking for an item."""
    with _database(database, folder) as url:
        world = prepare(url, people=_people(asked), fresh=asked.fresh, items=asked.items, rankings=asked.rankings)
        print(f"\nTouchstone, {database}: {world.counts}\n\n{heading()}", flush=True)
        rows: list[list[Row]] = []
        for way in asked.next:
            rows.append([])
            for level in asked.levels:
                top_up(world.engine, world.batch, asked.fresh)
                sit_down = partial(_sit_down, world.slug, way)
                with Website(url, folder, processes=asked.processes) as site:
                    done = asyncio.run(work(site, sit_down, world.emails[:level], asked.seconds))
                rows[-1].append(Row(f"{database}, {way}", done, look_up(world.engine, done.acknowledged)))
                print(rows[-1][-1], flush=True)
        world.engine.dispose()
    return rows


def _measure_label_studio(asked: argparse.Namespace, database: str, folder: Path) -> list[Row]:
    emails = [f"labeler-{number}@example.org" for number in range(_people(asked))]
    with _database(database, folder, file="label_studio.sqlite3") as url:
        engine = create_engine(url)
        project = label_studio.prepare(url, folder, emails=emails, fresh=asked.fresh)
        print(f"\nLabel Studio, {database}: {asked.fresh:,} tasks\n\n{heading()}", flush=True)
        rows = []
        for level in asked.levels:
            with label_studio.LabelStudio(url, folder, processes=asked.processes) as site:
                sit_down = partial(label_studio.sit_down, project)
                done = asyncio.run(work(site, sit_down, emails[:level], asked.seconds))
            rows.append(Row(f"{database}, API", done, label_studio.look_up(engine, done.acknowledged)))
            print(rows[-1], flush=True)
        engine.dispose()
    return rows


def _people(asked: argparse.Namespace) -> int:
    most: int = max(32, *asked.levels)
    return most


def _database(database: str, folder: Path, *, file: str = "touchstone.db") -> AbstractContextManager[str]:
    """Its URL, while it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    return postgresql(folder) if database == "postgresql" else nullcontext(f"sqlite:///{folder / file}")


def _sit_down(slug: str, way: str, client: Client, number: int) -> Desk:
    return Desk(client, slug, way, random.Random(number))


if __name__ == "__main__":
    main()
