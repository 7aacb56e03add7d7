"""`touchstone models`: a base model from the command line, with no server running."""

import importlib.util
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.cli_models import app
from app.core.config import Settings
from app.core.db import reading, writing
from app.projects.models import Project
from app.registry.models import Model, ModelState
from tests.factories import make_project

HAS_TORCH = importlib.util.find_spec("torch") is not None


def _models() -> list[Model]:
    with reading() as session:
        return list(session.scalars(select(Model)))


def _said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, " ".join(result.output.split())


def test_a_missing_folder_is_refused_before_anything_is_written(project: Project, tmp_path: Path) -> None:
    code, said = _said("add", "own", str(tmp_path / "nothing"))
    assert code == 2
    assert "There is no folder" in said
    assert "hub:OWNER/NAME" in said
    assert _models() == []


def test_a_wrong_hub_name_is_refused(project: Project) -> None:
    code, said = _said("add", "own", "hub:nobody")
    assert code == 2
    assert "Write hub:OWNER/NAME." in said


def test_a_wrong_name_is_refused(project: Project, tmp_path: Path) -> None:
    code, said = _said("add", "not a name", str(tmp_path))
    assert code == 2
    assert "letters, digits" in said
    assert _models() == []


def test_without_a_project_it_says_what_to_do(installation: Settings, tmp_path: Path) -> None:
    code, said = _said("add", "own", str(tmp_path))
    assert code == 2
    assert "There are 0 projects. Make one first" in said


def test_with_two_projects_one_must_be_named(project: Project, tmp_path: Path) -> None:
    with writing() as session:
        make_project(session)
    assert "Name one with --project" in _said("add", "own", str(tmp_path))[1]
    assert "no project 'nothing'" in _said("add", "own", str(tmp_path), "--project", "nothing")[1]


@pytest.mark.train
@pytest.mark.skipif(not HAS_TORCH, reason="needs the train extra")
def test_a_folder_is_added_and_listed(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.workers.tiny import save_base

    save_base(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    code, said = _said("add", "own", "base")
    assert code == 0
    assert "own is ready" in said
    (model,) = _models()
    assert (model.state, model.source) == (ModelState.ready, str(tmp_path / "base"))
    assert _said("list") == (0, "own base ready")


@pytest.mark.train
@pytest.mark.skipif(not HAS_TORCH, reason="needs the train extra")
def test_a_folder_that_is_no_model_is_refused_with_the_reason(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _ = _said("add", "own", str(tmp_path / "empty"))
    assert code == 1
    (model,) = _models()
    assert model.state == ModelState.refused
    assert "no config.json" in str(model.error)
    assert "refused" in _said("list")[1]
