"""The address of every page of a filled installation, found by asking for what the routes' parameters may stand for."""

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from typing import get_args

from sqlalchemy import select

from app.core.db import Base, reading
from app.labeling.models import Assignment, Batch, BatchKind, Item
from app.projects.models import GuidelinesKind, Project
from app.prompts.intake.acts import Act
from app.prompts.models import HeldFor
from app.runs.configs import RunKind
from tests.app.test_access import WAYS
from tests.security.hostile import ids_of

NO_PAGES = re.compile(
    r"^/api/|\.(csv|svg|json|jsonl|md|tar|parquet)$|/download$|/left-out\.|^/(healthz|readyz|metrics)$"
)
# Of the rest: what leads elsewhere who is signed in, what needs a worker that answers, and what is a file.
ELSEWHERE = re.compile(r"^/$|^/sign-in|^/welcome/|/said$|/evaluations/report$")
TABLES = {"prefix": "prefix", "import": "prompt_import", "result": "benchmark_result"}
MOST_TRIED = 60


def page_routes() -> list[str]:
    """Their templates, but for those that a test asks for by itself."""
    return sorted(
        {
            way.path
            for way in WAYS
            if way.method == "GET" and not NO_PAGES.search(way.path) and not ELSEWHERE.search(way.path)
        }
    )


def candidates(path: str, project: Project) -> Iterator[str]:
    """What `path` may be for this project, likelier first."""
    names = re.findall(r"\{(\w+)(?::\w+)?\}", path)
    values = [_values(name, path, project) for name in names]
    for chosen in itertools.islice(itertools.product(*values), MOST_TRIED):
        made = path
        for name, value in zip(names, chosen, strict=True):
            made = re.sub(rf"\{{{name}(:\w+)?\}}", str(value), made, count=1)
        yield made + _query(path)


def _query(path: str) -> str:
    """What a page needs to know besides."""
    if path.endswith("/explore/trace"):
        return f"?prompt={ids_of('prompt')[0]}"
    return f"?against={ids_of('snapshot')[0]}" if path.endswith("/diff") else ""


def _values(name: str, path: str, project: Project) -> list[object]:
    if name == "slug":
        return [project.slug]
    if name == "kind":
        return list(RunKind if "/runs/" in path else GuidelinesKind)
    if name == "version":
        return [2, 1]
    if name in ("reason", "act"):
        return list(HeldFor) if name == "reason" else list(get_args(Act))
    if name in ("batch_id", "item_id") and "/labeling/" in path:
        return _of_labeling(name, path)
    if name == "assignment_id":
        with reading() as session:
            return list(session.scalars(select(Assignment.id).order_by(Assignment.state)))
    table = name.removesuffix("_id")
    table = TABLES.get(table, table)
    return ids_of(table)[:MOST_TRIED] if table in Base.metadata.tables else ["nothing", uuid.UUID(int=7)]


def _of_labeling(name: str, path: str) -> list[object]:
    """One batch and its items, so that the two fit together."""
    with reading() as session:
        wanted = "Ranked" if "/items/" in path else "Contested"
        batches = session.scalars(select(Batch).where(Batch.kind == BatchKind.ranking).order_by(Batch.created_at)).all()
        batch = batches[0] if wanted == "Ranked" else batches[1]
        return (
            [batch.id]
            if name == "batch_id"
            else list(session.scalars(select(Item.id).where(Item.batch_id == batch.id)))
        )


def pages(project: Project, answers: Callable[[str], bool]) -> dict[str, list[str]]:
    """The addresses of each route that answer with a page: one, or each of its kinds."""
    found: dict[str, list[str]] = {}
    for path in page_routes():
        several = "{kind}" in path
        good = (address for address in candidates(path, project) if answers(address))
        found[path] = list(good if several else itertools.islice(good, 1))
    return found
