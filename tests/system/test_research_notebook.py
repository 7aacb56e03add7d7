"""docs/research.ipynb runs from its first cell to its last, against an installation with real rankings and a worker."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.accounts import tokens
from app.accounts.models import Person, Role
from app.core.db import writing
from tests.system.world import World

pytestmark = pytest.mark.train
NOTEBOOK = Path(__file__).parent.parent.parent / "docs" / "research.ipynb"


def test_the_research_notebook_runs(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.undisturbed("sft")
    world.rankings()
    with writing(world.loop.engine) as session:
        admin = session.scalars(select(Person).where(Person.role == Role.admin)).first()
        assert admin is not None
        token = tokens.create_token(session, admin, name="notebook", scope=tokens.Scope.write, days=1)
    monkeypatch.setenv("TOUCHSTONE_URL", world.here.address)
    monkeypatch.setenv("TOUCHSTONE_TOKEN", token)
    monkeypatch.setenv("TOUCHSTONE_PROJECT", world.loop.slug)
    monkeypatch.chdir(tmp_path)
    seen: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), seen)
    assert len(seen["pairs"]) == seen["snapshot"].counts["pairs"] > 0
    assert seen["run"].state == "succeeded"
    assert seen["model"].run_id == seen["run"].id
    seen["client"].connection.http.close()
