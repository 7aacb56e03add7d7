"""An export as a file on this machine, for the command line."""

from pathlib import Path

from app.core.errors import Conflict, Invalid
from app.datasets import service
from app.datasets.export_files import export
from app.datasets.exports import FORMS, ExportForm, FileType, check_form, needed
from app.datasets.models import Snapshot, SnapshotKind


def check_target(out: Path, kind: SnapshotKind, form: ExportForm | None) -> tuple[ExportForm, FileType]:
    """The form and type of the file, before anything is done. The ending states the type."""
    if out.suffix not in {f".{each}" for each in FileType}:
        raise Invalid(
            f"{out.name} ends in none of .jsonl, .csv and .parquet.", mend="Give the file one of these endings."
        )
    if out.exists():
        raise Conflict(f"{out} is there already.", mend="Choose another name, or remove it first.")
    if not out.parent.is_dir():
        raise Invalid(f"The folder {out.parent} does not exist.", mend="Make it first.")
    form = form or FORMS[kind][0]
    check_form(kind, form)
    return form, FileType(out.suffix[1:])


def save_export(snapshot: Snapshot, out: Path, *, form: ExportForm, file_type: FileType, split: str = "") -> int:
    """Write the export beside and rename it, so that it is there whole or not at all. Returns its size in bytes."""
    rows = service.snapshot_rows(snapshot, columns=needed(form))
    beside = out.with_name(f"{out.name}.part")
    try:
        with beside.open("wb") as file:
            for block in export(snapshot.kind, rows, form=form, file_type=file_type, split=split):
                file.write(block)
        beside.rename(out)
    finally:
        beside.unlink(missing_ok=True)
    return out.stat().st_size
