"""Prompts that labelers write: plain ones, few-shot ones, and ones after somebody's wish (section 3.2 of the paper)."""

import uuid
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person
from app.core.errors import Invalid
from app.labeling.schemas import Sent, Words
from app.labeling.service import record_demonstration
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.few_shot import FEWEST_EXAMPLES, few_shot_texts
from app.prompts.models import Prompt, PromptKind, UseCase
from app.prompts.readers import RawRow
from app.prompts.splits import content_hash

MOST_EXAMPLES = 6


class Example(Sent):
    """A query and the answer to it."""

    query: Words
    answer: Words


class PromptSent(Sent):
    kind: PromptKind = PromptKind.plain
    use_case: UseCase = UseCase.other
    text: Words  # of a few-shot prompt its instruction
    examples: list[Example] = Field([], max_length=MOST_EXAMPLES)

    @model_validator(mode="after")
    def _has_its_examples(self) -> Self:
        if self.kind == PromptKind.few_shot and len(self.examples) < FEWEST_EXAMPLES:
            raise ValueError(f"a few-shot prompt needs {FEWEST_EXAMPLES} examples at least, each with its answer")
        if self.kind == PromptKind.api:
            raise ValueError("a labeler writes plain, few-shot and user-based prompts")
        return self

    def texts(self) -> list[str]:
        """What models will be asked. K examples make K prompts: each is left open once, the others shown before it."""
        if self.kind != PromptKind.few_shot:
            return [self.text]
        return few_shot_texts(self.text, [(each.query, each.answer) for each in self.examples])


@dataclass(frozen=True, slots=True)
class Written:
    prompts: int
    demonstrations: int


def write_prompt(session: Session, project: Project, person: Person, sent: PromptSent) -> Written:
    """Add what a labeler wrote to the pool, the answers of few-shot examples as their demonstrations."""
    texts = sent.texts()
    rows = [
        RawRow(
            number,
            {
                "messages": [{"role": "user", "content": text}],
                "kind": sent.kind.value,
                "use_case": sent.use_case.value,
                "source_user": f"labeler {person.id}",
            },
        )
        for number, text in enumerate(texts, start=1)
    ]
    report = prompts.import_prompts(session, project, rows, person=person, source="labeler")
    if len(report.taken) < len(texts):
        refused = next((row.reason for row in report.refused), "")
        raise Invalid(
            f"That prompt was not taken: {refused}." if refused else "This prompt is in the pool already.",
            mend="Change it, or write another.",
        )
    # Held-out labelers make nothing that models are trained on.
    if sent.kind != PromptKind.few_shot or person.group == Group.held_out:
        return Written(len(texts), 0)
    for text, example in zip(texts, sent.examples, strict=True):
        digest = content_hash([{"role": "user", "content": text}])
        made = session.scalars(
            select(Prompt).where(Prompt.project_id == project.id, Prompt.content_hash == digest)
        ).one()
        record_demonstration(session, made, person, example.answer, source="few_shot")
    return Written(len(texts), len(texts))


def count_written(session: Session, project: Project, person_id: uuid.UUID) -> int:
    query = select(func.count()).select_from(Prompt)
    return session.scalar(query.where(Prompt.project_id == project.id, Prompt.written_by == person_id)) or 0
