"""The first rows of an upload: its columns, what they seem to be, and what would become of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy.orm import Session

from app.core.errors import DomainError
from app.core.storage import Artefacts
from app.projects.models import Project
from app.prompts.intake.mapping import columns_of, guess, prompts_in
from app.prompts.intake.settings import ImportSettings
from app.prompts.intake.taking import rows_of
from app.prompts.judging import Judge, read_row
from app.prompts.models import PromptImport, Verdict
from app.prompts.readers import ImportFormat, RawRow, nothing_in_it
from app.prompts.schemas import JudgedRow

ROWS, CELL = 20, 160


@dataclass(frozen=True, slots=True)
class Preview:
    columns: Sequence[str]
    rows: Sequence[RawRow]
    judged: Sequence[JudgedRow]
    error: DomainError | None = None

    def count(self, verdict: Verdict) -> int:
        return sum(each.verdict is verdict for each in self.judged)

    def example(self, column: str) -> str:
        """What the first row that has this column says in it."""
        values = (
            str(row.values[column]) for row in self.rows if isinstance(row.values, dict) and row.values.get(column)
        )
        text = next(values, "")
        return f"{text[:CELL]}…" if len(text) > CELL else text


def first_rows(store: Artefacts, key: str, form: ImportFormat) -> list[RawRow]:
    with store.reading(key) as file:
        rows = list(islice(rows_of(file, form), ROWS))
    if not rows:
        raise nothing_in_it()
    return rows


def guess_settings(rows: Sequence[RawRow], before: ImportSettings | None) -> ImportSettings:
    """What the columns seem to be, and the steps that the project's last import had."""
    guessed = guess(rows)
    if before is None:
        return guessed
    return before.model_copy(update={"columns": guessed.columns, "up_to_last_user": guessed.up_to_last_user})


def preview(session: Session, project: Project, row: PromptImport, store: Artefacts) -> Preview:
    """What would become of the first rows. The steps that compare prompts and those that mend them come later."""
    settings = ImportSettings.model_validate(row.settings)
    try:
        rows = first_rows(store, row.upload_key or "", row.format)
    except DomainError as error:
        return Preview([], [], [], error)
    judge = Judge(session, project)
    read = (read_row(each) for raw in rows for each in prompts_in(raw, settings))
    return Preview(columns_of(rows), rows, list(judge.judge(read)))
