"""One installation for every system test: a project of short texts around a model so small that runs take seconds."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.system.installation import Installation

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["*"]
else:
    from tests.system.world import World, make_world


@pytest.fixture(scope="package")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("system") / "var", free_port()) as here:
        yield here


@pytest.fixture(scope="package")
def world(here: Installation, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[World]":
    world = make_world(here, tmp_path_factory.mktemp("base"))
    yield world
    world.close()


@pytest.fixture
def world_on_postgresql(postgres_url: str, tmp_path: Path) -> "Iterator[World]":
    """The same on a PostgreSQL of its own."""
    with Installation(tmp_path / "var", free_port(), TOUCHSTONE_DATABASE_URL=postgres_url) as here:
        world = make_world(here, tmp_path)
        yield world
        world.close()
