"""How long the explorer's pages take with a million prompts behind them.

    python -m benchmarks.datasets explorer --database sqlite --items 1000000 --rankings 1000000

The database is filled as `benchmarks.labeling` fills it (`--folder` keeps it, and takes one of that benchmark). Every
page is asked of the application itself, without sockets, `--times` times, as a researcher sees it: the first page of
each tab, filters, a story, distributions, and searches for a word that nothing holds, whose parts are followed.
"""

import argparse
import gc
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import PersonState, Role
from app.core import config, db
from app.core.db import writing
from app.labeling.models import Batch, Item
from app.main import create_app
from app.projects import service as projects
from benchmarks.labeling import _database
from benchmarks.website import World, prepare

FURTHER = re.compile(r'hx-get="([^"]+)" hx-trigger="load"')
MOST_PARTS = 60  # of a search that would go on for ever so long


def main(name: str, arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rankings", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="keep the database here, and use it again")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="touchstone-"))
    try:
        with _database(asked.database, folder / asked.database) as url:
            world = prepare(url, people=32, fresh=1000, items=asked.items, rankings=asked.rankings)
            os.environ |= {"TOUCHSTONE_DATABASE_URL": url, "TOUCHSTONE_STATE_DIR": str(folder)}
            config.get_settings.cache_clear()
            db.get_engine.cache_clear()
            print(f"\n{asked.database}: {world.counts}\n\n| page | p50 ms | p95 ms | requests |\n|---|---|---|---|")
            for name, took in _measured(world, asked.times):
                ordered = sorted(1000 * each for each in took)
                p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
                print(f"| {name} | {statistics.median(ordered):.0f} | {p95:.0f} | {len(ordered)} |", flush=True)
            world.engine.dispose()
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def _measured(world: World, times: int) -> Iterator[tuple[str, list[float]]]:
    client, start = TestClient(create_app(), base_url="http://localhost"), f"/p/{world.slug}/explore"
    with writing(world.engine) as session:
        project = projects.project_by_slug(session, world.slug)
        email = f"reader-{time.time_ns()}@example.org"
        reader = accounts.add_person(session, email, name="Reader", role=Role.researcher)
        reader.state = PersonState.active
        projects.add_member(session, project, reader)
        client.cookies.set(COOKIE, accounts.start_session(session, reader))
        batch = session.scalars(select(Batch.id)).first()
        item = session.scalars(select(Item).where(Item.got > 0).limit(1)).one()
    pages = {
        "prompts": start, "prompts of a split": f"{start}?split=train", "completions": f"{start}/completions",
        "completions with a flag": f"{start}/completions?flag=hallucination", "judgments": f"{start}/judgments",
        "judgments of a batch": f"{start}/judgments?batch={batch}", "a story": f"{start}/prompts/{item.prompt_id}",
        "distributions": f"{start}/distributions?figures=true",
    }  # fmt: skip
    for name, address in pages.items():
        _ask(client, address)  # the first request of a process reads templates
        gc.collect()
        gc.freeze()  # as a web process does when it has started
        yield name, [_ask(client, address)[0] for _ in range(times)]
    for tab in ("", "/completions", "/judgments"):
        yield (
            f"a word that no row has, part by part: {tab[1:] or 'prompts'}",
            _followed(client, f"{start}{tab}?q=zzyzx"),
        )


def _ask(client: TestClient, address: str) -> tuple[float, str]:
    began = time.perf_counter()
    answer = client.get(address, headers={"hx-request": "true"})
    took = time.perf_counter() - began
    assert answer.status_code == 200, answer.text[:500]
    return took, answer.text


def _followed(client: TestClient, address: str) -> list[float]:
    took: list[float] = []
    while len(took) < MOST_PARTS:
        seconds, page = _ask(client, address)
        took.append(seconds)
        further = FURTHER.search(page)
        if further is None:
            return took
        address = further[1].replace("&amp;", "&")
    return took
