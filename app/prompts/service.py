"""The prompt pool: checking and taking imports, looking through it, and the plain texts beside it."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Text, cast, func, insert, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.cursors import rows_after
from app.core.db import constant
from app.core.errors import Conflict, NotFound
from app.core.storable import LONGEST_SEARCH
from app.projects.models import Project
from app.prompts.judging import Judge, read_row
from app.prompts.models import HeldFor, PlainText, Prompt, Split, UseCase
from app.prompts.readers import RawRow
from app.prompts.schemas import ImportReport, JudgedRow
from app.prompts.splits import content_hash, split_of

PAGE_SIZE = 50
COUNTED = 1000  # prompts without a use case: more than so many are not counted
HAS_NO_USE_CASE = (Prompt.use_case == constant(UseCase.other), Prompt.use_case_fixed_at.is_(None))  # as its index says


@dataclass(frozen=True, slots=True)
class PromptFilter:
    split: Split | None = None
    use_case: UseCase | None = None
    search: str = ""
    use_cases: tuple[UseCase, ...] = ()  # any of these; none: all
    source: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class PromptPage:
    prompts: Sequence[Prompt]
    total: int
    number: int

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE_SIZE))


def check_import(session: Session, project: Project, rows: Iterable[RawRow]) -> ImportReport:
    """What importing these rows would do. Changes nothing."""
    return ImportReport(list(Judge(session, project).judge(read_row(raw) for raw in rows)))


def import_prompts(
    session: Session, project: Project, rows: Iterable[RawRow], *, person: Person | None, source: str
) -> ImportReport:
    """Take every good row once; the report tells about the others."""
    take_turns(session, project.id)
    report = check_import(session, project, rows)
    take_checked(session, project, report, person=person, source=source)
    return report


def take_turns(session: Session, project_id: uuid.UUID) -> None:
    """From here to the transaction's end no other import into the project is at work."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))


def take_checked(
    session: Session, project: Project, report: ImportReport, *, person: Person | None, source: str
) -> None:
    """Take what a report of this transaction says is to be taken."""
    person_id = person.id if person else None
    values = [columns_of(project, judged, person_id=person_id, source=source) for judged in report.taken]
    if values:
        session.execute(insert(Prompt), values)
        audit.record(
            session,
            person,
            "prompts.import",
            subject=project,
            taken=len(values),
            source=source,
            duplicates=len(report.duplicates),
            refused=len(report.refused),
        )


def columns_of(project: Project, judged: JudgedRow, *, person_id: uuid.UUID | None, source: str) -> dict[str, object]:
    assert judged.row is not None
    return {
        "project_id": project.id,
        "messages": judged.row.turns(),
        "kind": judged.row.kind,
        "use_case": judged.row.use_case,
        "source": judged.row.source or source,
        "source_user": judged.row.source_user,
        "source_organisation": judged.row.source_organisation,
        "language": judged.row.language,
        "flags": sorted(set(judged.row.flags)),
        "split": judged.split,
        "content_hash": judged.content_hash,
        "written_by": person_id,
    }


def list_prompts(session: Session, project: Project, wanted: PromptFilter, *, page: int = 1) -> PromptPage:
    """One page of the pool, newest first."""
    conditions = conditions_of(project, wanted)
    total = session.scalar(select(func.count()).select_from(Prompt).where(*conditions)) or 0
    number = min(max(1, page), max(1, -(-total // PAGE_SIZE)))
    found = (
        select(Prompt).where(*conditions).order_by(Prompt.id.desc()).limit(PAGE_SIZE).offset((number - 1) * PAGE_SIZE)
    )
    return PromptPage(session.scalars(found).all(), total, number)


def prompts_after(
    session: Session, project: Project, wanted: PromptFilter, *, after: uuid.UUID | None, limit: int
) -> tuple[list[Prompt], uuid.UUID | None]:
    """The next prompts behind this one, the oldest first, and the cursor for those behind them."""
    query = select(Prompt).where(*conditions_of(project, wanted))
    return rows_after(session, query, Prompt, after=after, limit=limit, newest_first=False)


def conditions_of(project: Project, wanted: PromptFilter) -> list[ColumnElement[bool]]:
    """The prompts in use that a filter takes, as conditions of a query."""
    conditions = [Prompt.project_id == project.id, Prompt.is_retired.is_(False)]
    if wanted.split:
        conditions.append(Prompt.split == wanted.split)
    if wanted.use_case:
        conditions.append(Prompt.use_case == wanted.use_case)
    if wanted.use_cases:
        conditions.append(Prompt.use_case.in_(wanted.use_cases))
    if wanted.source:
        conditions.append(Prompt.source == wanted.source)
    if wanted.language:
        conditions.append(Prompt.language == wanted.language)
    if wanted.search.strip():
        conditions.append(mentions(wanted.search.strip()))
    return conditions


def mentions(words: str) -> ColumnElement[bool]:
    """Whether a prompt's messages hold these words. JSON keeps é as \\u00e9, so the words are escaped alike."""
    needle = json.dumps(words[:LONGEST_SEARCH])[1:-1]
    return cast(Prompt.messages, Text).icontains(needle, autoescape=True)


def prompt_of_project(session: Session, project: Project, prompt_id: uuid.UUID) -> Prompt:
    prompt = session.get(Prompt, prompt_id)
    if prompt is None or prompt.project_id != project.id:
        raise NotFound("There is no such prompt in this project.", mend="Choose one under Explore.")
    return prompt


def withdraw(session: Session, prompt: Prompt, *, is_withdrawn: bool = True, by: Person) -> None:
    """From now on no one is asked about it, and no new snapshot holds it or labels of it. All of it is kept, and it can
    be taken back, as can what an import holds. Conflict: its import is still at work."""
    if not is_withdrawn and prompt.held_for == HeldFor.arriving:
        raise Conflict("Its import is not done yet.", mend="Continue the import, or wait for it.")
    if prompt.is_retired != is_withdrawn:
        prompt.is_retired, prompt.held_for, prompt.held_note = is_withdrawn, None, ""
        audit.record(session, by, "prompt.withdraw" if is_withdrawn else "prompt.take_back", subject=prompt)
        session.flush()


def prompts_by_id(session: Session, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Prompt]:
    return {prompt.id: prompt for prompt in session.scalars(select(Prompt).where(Prompt.id.in_(set(ids))))}


def sources_and_languages(session: Session, project: Project) -> tuple[list[str], list[str]]:
    """What a filter can ask for."""
    here = (Prompt.project_id == project.id, Prompt.is_retired.is_(False))
    found = session.execute(select(Prompt.source, Prompt.language).where(*here).distinct()).all()
    return sorted({source for source, _ in found}), sorted({language for _, language in found})


def count_by_split(session: Session, project: Project) -> dict[str, int]:
    """How many prompts in use each split has."""
    found = (
        select(Prompt.split, func.count())
        .where(Prompt.project_id == project.id, Prompt.is_retired.is_(False))
        .group_by(Prompt.split)
    )
    counts = dict.fromkeys(Split, 0)
    counts.update((split, count) for split, count in session.execute(found))
    return {split.value: count for split, count in counts.items()}


def count_unsorted(session: Session, project: Project) -> int:
    """How many prompts in use have no use case yet, COUNTED at most."""
    some = select(Prompt.id).where(Prompt.project_id == project.id, *HAS_NO_USE_CASE, Prompt.is_retired.is_(False))
    return session.scalar(select(func.count()).select_from(some.limit(COUNTED).subquery())) or 0


def count_texts(session: Session, project: Project) -> dict[str, int]:
    """How many plain texts each split has."""
    found = select(PlainText.split, func.count()).where(PlainText.project_id == project.id).group_by(PlainText.split)
    counts = dict.fromkeys(Split, 0)
    counts.update((split, count) for split, count in session.execute(found))
    return {split.value: count for split, count in counts.items()}


def import_texts(session: Session, project: Project, texts: Iterable[str], *, person: Person, source: str) -> int:
    """Add plain texts on behalf of a person; returns how many were new."""
    taken = add_texts(session, project, ((text, None) for text in texts), source=source)
    audit.record(session, person, "texts.import", subject=project, taken=taken, source=source)
    return taken


def add_texts(session: Session, project: Project, texts: Iterable[tuple[str, Split | None]], *, source: str) -> int:
    """Add plain texts for PPO-ptx, each once; returns how many were new."""
    known = set(session.scalars(select(PlainText.content_hash).where(PlainText.project_id == project.id)))
    values = []
    for text, split in texts:
        digest = content_hash([{"role": "text", "content": text}])
        if digest not in known:
            known.add(digest)
            values.append(
                {
                    "project_id": project.id,
                    "source": source,
                    "text": text,
                    "content_hash": digest,
                    "split": split or split_of(digest),
                }
            )
    if values:
        session.execute(insert(PlainText), values)
    return len(values)
