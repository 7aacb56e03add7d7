"""What models from elsewhere wrote, brought in to be judged beside the project's own: a row is a prompt, a model and a
text."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Conflict
from app.core.storable import storable
from app.labeling.models import Completion
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.models import Prompt, Split
from app.prompts.readers import RawRow
from app.registry import service as registry
from app.registry.models import Model

AT_ONCE = 500  # prompts looked up in one statement
LONGEST = 100_000  # characters of an output
MODEL = ("model", "model_name", "model_type", "generator")
TEXT = ("output", "response", "completion", "text", "sample", "prediction", "answer")
PROMPT = ("messages", "prompt", "instruction", "question", "context")


@dataclass(frozen=True, slots=True)
class Output:
    number: int  # of its row
    prompt: RawRow
    model: str
    text: str


@dataclass(slots=True)
class Brought:
    """What was taken, and why the rest was not."""

    models: Counter[str] = field(default_factory=Counter)  # new outputs of each
    known: int = 0
    new_prompts: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    @property
    def taken(self) -> int:
        return self.models.total()


def bring_outputs(session: Session, project: Project, rows: Iterable[RawRow], *, source: str, by: Person) -> Brought:
    """Keep every good row once. Prompts that are not in the pool join its test split: nothing is trained on them."""
    brought, outputs = Brought(), []
    for row in rows:
        read = _read(row, source)
        if isinstance(read, str):
            brought.refused.append((row.number, read))
        else:
            outputs.append(read)
    found = _prompts(session, project, outputs, brought, source=source, by=by)
    models: dict[str, Model | str] = {}
    told = {}
    for output in outputs:
        prompt = found.get(output.number)
        if prompt is None:
            continue
        if output.model not in models:
            models[output.model] = _model(session, project, output.model, by=by)
        told[output.number] = (prompt, models[output.model], output.text)
    _keep(session, told, brought, source=source)
    brought.refused.sort()
    if brought.taken:
        said = {"models": sorted(brought.models), "taken": brought.taken, "source": source}
        audit.record(session, by, "outputs.bring", subject=project, **said)
    return brought


def _read(row: RawRow, source: str) -> Output | str:
    """The row's output; or what is wrong with it."""
    if row.problem:
        return row.problem
    if not isinstance(row.values, dict):
        return "is not an object with named fields"
    model, text = (_first(row.values, names) for names in (MODEL, TEXT))
    said = next((name for name in PROMPT if row.values.get(name)), None)
    if said is None:
        return f"has no prompt: a column named {', '.join(PROMPT[:-1])} or {PROMPT[-1]}"
    if not isinstance(model, str) or not model.strip():
        return f"names no model: a column named {', '.join(MODEL[:-1])} or {MODEL[-1]}"
    if not isinstance(text, str) or not text.strip():
        return f"has no output: a column named {', '.join(TEXT[:-1])} or {TEXT[-1]}"
    if len(text) > LONGEST:
        return f"has an output of more than {LONGEST:,} characters"
    values = {name: row.values[name] for name in ("use_case", "language") if row.values.get(name)}
    asked = row.values[said]
    if said == "instruction" and isinstance(row.values.get("input"), str) and row.values["input"].strip():
        asked = f"{asked}\n\n{row.values['input']}"
    as_said = {"messages": asked} if isinstance(asked, list) else {"prompt": asked}
    prompt = RawRow(row.number, {**values, **as_said, "split": Split.test.value, "source": source})
    return Output(row.number, prompt, storable(model), storable(text))


def _first(values: dict[Any, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name)), None)


def _prompts(
    session: Session, project: Project, outputs: Sequence[Output], brought: Brought, *, source: str, by: Person
) -> dict[int, Prompt]:
    """Each row's prompt, by the row's number; new ones are added to the pool."""
    report = prompts.import_prompts(session, project, [each.prompt for each in outputs], person=by, source=source)
    brought.new_prompts = len(report.taken)
    brought.refused += [(each.number, each.reason) for each in report.refused]
    digests = {each.number: each.content_hash for each in (*report.taken, *report.duplicates)}
    wanted, by_hash = sorted(set(digests.values())), dict[str, Prompt]()
    for start in range(0, len(wanted), AT_ONCE):
        here = Prompt.content_hash.in_(wanted[start : start + AT_ONCE])
        found = session.scalars(select(Prompt).where(Prompt.project_id == project.id, here))
        by_hash |= {prompt.content_hash: prompt for prompt in found}
    brought.refused += [
        (number, "has a prompt that was withdrawn") for number, each in digests.items() if by_hash[each].is_retired
    ]
    return {number: by_hash[each] for number, each in digests.items() if not by_hash[each].is_retired}


def _model(session: Session, project: Project, name: str, *, by: Person) -> Model | str:
    try:
        return registry.outside_model(session, project, name, by=by)
    except Conflict as error:
        return f"is by a model that has the name of one of this project: {error.message} {error.mend}"


def _keep(session: Session, told: dict[int, tuple[Prompt, Model | str, str]], brought: Brought, *, source: str) -> None:
    there = _there(session, {prompt.id for prompt, _, _ in told.values()})
    counts = Counter((prompt_id, model_id) for prompt_id, model_id, _ in there)
    for number, (prompt, model, text) in told.items():
        if isinstance(model, str):
            brought.refused.append((number, model))
        elif (prompt.id, model.id, text) in there:
            brought.known += 1
        else:
            there.add((prompt.id, model.id, text))
            place = counts[prompt.id, model.id]
            counts[prompt.id, model.id] += 1
            brought.models[model.name] += 1
            settings = {"imported_from": source}
            session.add(Completion(prompt_id=prompt.id, model_id=model.id, number=place, text=text, settings=settings))
    session.flush()


def _there(session: Session, prompt_ids: set[uuid.UUID]) -> set[tuple[uuid.UUID, uuid.UUID | None, str]]:
    """Which outputs these prompts have already."""
    wanted, found = sorted(prompt_ids), set()
    for start in range(0, len(wanted), AT_ONCE):
        query = select(Completion.prompt_id, Completion.model_id, Completion.text)
        rows = session.execute(query.where(Completion.prompt_id.in_(wanted[start : start + AT_ONCE])))
        found |= {(prompt_id, model_id, text) for prompt_id, model_id, text in rows}
    return found
