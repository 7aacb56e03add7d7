"""What the Hub is sent reads back as it is, and what it does not take is said in words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import reading_one_state, writing
from app.core.errors import Invalid
from app.datasets import hub, service
from app.datasets.exports import ExportForm
from app.datasets.models import Snapshot, SnapshotKind
from app.projects.models import Project
from app.prompts.models import Split
from tests.app.datasets.labels import make_ranking
from tests.factories import make_prompt


@pytest.fixture
def snapshot(project: Project, labeler: Person) -> Snapshot:
    """Rankings of two splits, with a licence."""
    with writing() as session:
        session.get_one(Project, project.id).settings = {"licence": "CC-BY-4.0"}
        for split in (Split.train, Split.train, Split.valid):
            make_ranking(session, project, labeler, [1, 2, 2], prompt=make_prompt(session, project, split=split))
    with reading_one_state() as session:
        frozen = service.freeze(session, session.get_one(Project, project.id), SnapshotKind.comparisons, {})
    with writing() as session:
        return service.keep(session, frozen, None)


def test_a_folder_has_a_file_for_each_split_and_a_card(snapshot: Snapshot, tmp_path: Path) -> None:
    written = hub.write_folder(snapshot, tmp_path / "dataset", ExportForm.preference)
    assert [file.name for file in written] == ["train.parquet", "validation.parquet"]
    _, front, card = (tmp_path / "dataset" / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["license"] == "cc-by-4.0"
    assert [each["split"] for each in facts["configs"][0]["data_files"]] == ["train", "validation"]
    assert "## What it can't tell" in card


@pytest.mark.train
def test_the_folder_loads_as_the_hub_would_give_it(snapshot: Snapshot, tmp_path: Path) -> None:
    from datasets import load_dataset

    hub.write_folder(snapshot, tmp_path / "dataset", ExportForm.preference_conversational)
    loaded = load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 4, "validation": 2}
    assert loaded["train"][0]["chosen"][0]["role"] == "assistant"


@pytest.mark.parametrize("name", ["", "stories", "https://huggingface.co/owner/name", "owner/name/more", "../x/y"])
def test_a_name_that_is_none_is_refused(name: str, installation: Settings) -> None:
    with pytest.raises(Invalid, match="no dataset of the Hub"):
        hub.check_repository(name)


@pytest.mark.train
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_none"}, "could not be sent"),
        ({"TOUCHSTONE_USE_HUB": "false"}, "switched off"),
    ],
)
def test_a_hub_that_does_not_take_it_is_said_in_words(
    settings: dict[str, str], said: str, snapshot: Snapshot, installation: Settings
) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("touchstone"), "push", "comparisons", "owner/name"],
        env={**os.environ, "TOUCHSTONE_STATE_DIR": str(installation.state_dir),
             "TOUCHSTONE_DATABASE_URL": installation.database, **settings},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
