"""What goes out comes back in as the same labels, in every shape that export and import both know."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.core.storage import Artefacts
from app.datasets import service
from app.datasets.existing.shapes import read_labels
from app.datasets.existing.taking import take_labels
from app.datasets.export_files import export
from app.datasets.exports import ExportForm, FileType, export_rows
from app.datasets.models import SnapshotKind
from app.datasets.rows import Row
from app.projects.models import Project
from app.prompts.models import Split, UseCase
from app.prompts.readers import ImportFormat, read_rows
from tests.app.datasets.labels import make_demonstration, make_ranking
from tests.factories import make_person, make_project, make_prompt

TURNS = [
    {"role": "user", "content": "Where is the dog?"},
    {"role": "assistant", "content": "Which?\n\nThere are two."},
    {"role": "user", "content": "=Mine"},
]
TLDR = "SUBREDDIT: r/pets\n\nTITLE: Dog\n\nPOST: My dog ran off.\n\nTL;DR:"
LABELS, WRITTEN = SnapshotKind.comparisons, SnapshotKind.demonstrations
ALIKE = ("prompt", "chosen", "rejected", "completion", "completions", "ranks", "info", "choice", "split", "use_case",
         "group")  # fmt: skip
TEXTS = {ExportForm.preference, ExportForm.prompt_completion}  # these make one text of a conversation
BOTH = [
    *((LABELS, form, FileType.jsonl) for form in (
        ExportForm.preference, ExportForm.preference_conversational, ExportForm.hh_rlhf, ExportForm.summaries,
        ExportForm.rankings,
    )),
    (LABELS, ExportForm.preference, FileType.csv),
    (WRITTEN, ExportForm.prompt_completion, FileType.jsonl),
    (WRITTEN, ExportForm.prompt_completion, FileType.csv),
    (WRITTEN, ExportForm.prompt_completion_conversational, FileType.jsonl),
]  # fmt: skip


def rows_of(session: Session, project: Project, kind: SnapshotKind, store: Artefacts) -> list[Row]:
    snapshot = service.keep(session, service.freeze(session, project, kind, {}, artefacts=store), None)
    return list(service.snapshot_rows(snapshot, store))


def said(rows: list[Row], form: ExportForm) -> list[str]:
    """What rows in a form say, but for ids and pseudonyms, which are another project's."""
    found: list[dict[str, Any]] = [
        {name: row[name] for name in ALIKE if name in row} for row in export_rows(rows, form)
    ]
    return sorted(map(str, found))


def label(session: Session, *, in_turns: bool) -> Project:
    project, labelers = make_project(session), [make_person(session) for _ in range(2)]
    asked = [make_prompt(session, project, organisation="Mill"), make_prompt(session, project, text=TLDR),
             make_prompt(session, project, split=Split.valid, use_case=UseCase.chat)]  # fmt: skip
    if in_turns:
        asked[2].messages = TURNS
    for number, prompt in enumerate(asked):
        for labeler in labelers:
            make_ranking(session, project, labeler, [2, 1, 3, 2] if number else [1, 2], prompt=prompt)
            make_demonstration(session, prompt, labeler, text=f"The end,\n\nof “{number}” by {labeler.name}.")
    return project


EACH = [*(("sqlite", *each) for each in BOTH), ("postgresql", LABELS, ExportForm.rankings, FileType.jsonl),
        ("postgresql", WRITTEN, ExportForm.prompt_completion, FileType.jsonl)]  # fmt: skip


@pytest.mark.parametrize(("database_url", "kind", "form", "file_type"), EACH, indirect=["database_url"])
def test_what_goes_out_comes_back_in(
    session: Session, tmp_path: Path, kind: SnapshotKind, form: ExportForm, file_type: FileType
) -> None:
    (tmp_path / "store").mkdir()
    store = Artefacts(str(tmp_path / "store"), tmp_path / "cache")
    rows = rows_of(session, label(session, in_turns=form not in TEXTS), kind, store)
    content = b"".join(export(kind, rows, form=form, file_type=file_type))
    elsewhere, admin = make_project(session), make_person(session)
    read = read_labels(read_rows(content, ImportFormat(file_type.value)))
    report = take_labels(session, elsewhere, read, file="ours", by=admin)
    assert report.refused == []
    back = rows_of(session, elsewhere, kind, store)
    assert said(back, form) == said(rows, form) != []
    assert len({row["labeler"] for row in back}) == 2


def test_our_ratings_are_not_taken_for_demonstrations(session: Session, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = Artefacts(str(tmp_path / "store"), tmp_path / "cache")
    rows = rows_of(session, label(session, in_turns=True), LABELS, store)
    content = b"".join(export(LABELS, rows, form=ExportForm.ratings, file_type=FileType.jsonl))
    read = list(read_labels(read_rows(content, ImportFormat.jsonl)))
    assert len(read) == 20
    assert all(row.problem.startswith("is of no known shape") for row in read)
