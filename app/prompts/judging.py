"""Which rows become prompts, which are here already and which are refused: the same for a request and for a million."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.projects.models import Project
from app.prompts.models import Prompt, Split, Verdict
from app.prompts.readers import RawRow
from app.prompts.schemas import JudgedRow, Looked, PromptRow, in_words
from app.prompts.splits import SplitBook, SplitConflict, content_hash

OPENING = 120
ROWS_AT_ONCE = 1000
MOST_NAMES = 200_000  # sources whose splits are remembered from one chunk to the next


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row as far as it can be judged without the pool."""

    number: int
    looked: Looked | None = None
    digest: str = ""
    problem: str = ""


def read_row(raw: RawRow, look: Callable[[PromptRow], Looked] = Looked) -> ReadRow:
    if raw.problem:
        return ReadRow(raw.number, problem=raw.problem)
    try:
        looked = look(PromptRow.model_validate(raw.values))
        return ReadRow(raw.number, looked, content_hash(looked.row.turns()))
    except ValidationError as error:
        return ReadRow(raw.number, problem=in_words(error))


@dataclass
class Judge:
    """Judges rows in their order. Of the pool it reads only what a chunk of rows touches."""

    session: Session
    project: Project
    book: SplitBook = field(default_factory=SplitBook)
    _known: set[str] = field(default_factory=set)

    def judge(self, rows: Iterable[ReadRow]) -> Iterator[JudgedRow]:
        left = iter(rows)
        while chunk := list(islice(left, ROWS_AT_ONCE)):
            self._look_up(chunk)
            yield from (self._judged(read) for read in chunk)

    def _look_up(self, chunk: list[ReadRow]) -> None:
        """Which of these prompts are here already, and the splits that their sources have."""
        rows = [read.looked.row for read in chunk if read.looked]
        digests = {read.digest for read in chunk if read.looked} - self._known
        here = select(Prompt.content_hash).where(Prompt.project_id == self.project.id)
        self._known.update(self.session.scalars(here.where(Prompt.content_hash.in_(digests))) if digests else ())
        self.book.forget_beyond(MOST_NAMES)
        organisations = {row.source_organisation for row in rows if row.source_organisation}
        self.book.organisations.update(
            self._splits(Prompt.source_organisation, organisations - self.book.organisations.keys())
        )
        users = {row.source_user for row in rows if row.source_user}
        self.book.users.update(self._splits(Prompt.source_user, users - self.book.users.keys()))

    def _splits(self, column: InstrumentedAttribute[str | None], names: set[str]) -> dict[str, Split]:
        if not names:
            return {}
        found = select(column, Prompt.split).where(Prompt.project_id == self.project.id, column.in_(names)).distinct()
        return {source: split for source, split in self.session.execute(found) if source}

    def _judged(self, read: ReadRow) -> JudgedRow:
        if read.looked is None:
            return JudgedRow(read.number, Verdict.refused, read.problem)
        row = read.looked.row
        opening = row.messages[-1].content[:OPENING]
        if read.digest in self._known:
            known = "this prompt is there already"
            return JudgedRow(read.number, Verdict.duplicate, known, content_hash=read.digest, opening=opening)
        try:
            split = self.book.place(
                organisation=row.source_organisation, user=row.source_user, content=read.digest, wanted=row.split
            )
        except SplitConflict as error:
            return JudgedRow(read.number, Verdict.refused, str(error), opening=opening)
        self._known.add(read.digest)
        return JudgedRow(read.number, Verdict.taken, "", row, read.digest, split, opening, read.looked)
