"""The page of a new run: its parts as selects, its settings as fields, and what was typed kept through errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.core.errors import DomainError, Invalid
from app.datasets import service as datasets
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.schemas import in_words, read_filter
from app.prefixes.service import prefixes_of
from app.projects import service as projects
from app.projects.models import Project
from app.registry import service as registry
from app.registry.models import Model
from app.runs import creation, forms, measuring, offers
from app.runs.configs import RunConfig, RunKind
from app.runs.creation import default_name
from app.runs.forms import FormField
from app.runs.inputs import fresh_filter
from app.runs.judged import short_warning
from app.runs.presets import Preset
from app.runs.schemas import NEW, NEW_ROUND, NONE, PARTS, PLANS, TEXTS, Part, Priority, RunPlan, Where, kind_name

# Field names of the form: a part's select is `part.<name>`, so that no setting can share its name.
_PART = "part."
_OF_ROUNDS = (SnapshotKind.demonstrations, SnapshotKind.comparisons)
_INITIAL = " · initial policy for RL, as in the paper"
FROM_INITIAL = (
    "The paper starts from a policy of its own, not from the SFT model: 2 epochs with 10 % plain text mixed in (C.3)."
)


@dataclass(frozen=True, slots=True)
class PartField:
    part: Part
    name: str
    chosen: str
    options: list[tuple[str, str]]
    wrong: str | None
    advice: str = ""  # what the paper does here, where nothing of the kind is at hand


@dataclass(frozen=True, slots=True)
class Fresh:
    """How many rows there are of one kind of data."""

    words: str
    total: int
    of_round: int | None  # the current one; prompts and plain text belong to none


@dataclass(frozen=True, slots=True)
class NewRun:
    kind: RunKind
    title: str
    about: str
    name: str
    default_name: str
    name_wrong: str | None
    parts: list[PartField]
    fields: list[FormField]
    presets: list[Preset]
    preset: Preset
    priority: str
    device: str
    wrong: Mapping[str, str]  # of these two

    @property
    def reads_data(self) -> bool:
        """Whether any of its parts is a snapshot."""
        return any(field.part.snapshot for field in self.parts)


def asked(kind: RunKind, query: Mapping[str, str]) -> dict[str, Any]:
    """Settings that the address asks for: links of the overview open the form for rankings or for evaluations."""
    return {name: value for name, value in query.items() if name in PLANS[kind].model_fields}


def asked_parts(kind: RunKind, query: Mapping[str, str]) -> dict[str, str]:
    """Models and snapshots that the address asks for, in a link's short form or as the form itself sends them."""
    names = {part.name for part in PARTS[kind]}
    return {short: value for name, value in query.items() if (short := name.removeprefix(_PART)) in names}


def opening(session: Session, project: Project, kind: RunKind, query: Mapping[str, str]) -> dict[str, str]:
    """What a form stands filled with: the newest models, and the preset that is asked for. The form's own button that
    fills in a preset keeps the parts and the name, and replaces every setting."""
    said = RunPlan(name=query.get("name", ""), parts=asked_parts(kind, query),
                   config={} if "fill" in query else asked(kind, query), **_place(query))  # fmt: skip
    plan, preset = _filled(session, project, kind, said, preset=query.get("preset", ""))
    return {**typed_of(plan), "preset": preset.name}


def plan_asked(session: Session, project: Project, kind: RunKind, asked: RunPlan, *, preset: str) -> RunPlan:
    """A script's plan, with what it leaves out as the form would stand filled."""
    if unknown := set(asked.parts) - {part.name for part in PARTS[kind]}:
        names = ", ".join(part.name for part in PARTS[kind])
        raise Invalid(
            f"A {kind_name(kind)} run has no part {min(unknown)!r}; its parts are {names}.",
            fields={f"parts.{name}": "There is no such part." for name in unknown},
        )
    return _filled(session, project, kind, asked, preset=preset)[0]


def _filled(session: Session, project: Project, kind: RunKind, said: RunPlan, *, preset: str) -> tuple[RunPlan, Preset]:
    """A plan with what it leaves out: the newest models, and the settings of a preset, which is the other answer."""
    parts = creation.suggested_parts(session, project, kind) | said.parts
    offered = offers.offered_presets(session, project, kind, creation.subject_model(session, kind, parts))
    chosen = offers.preset_named(offered, preset)
    return said.model_copy(update={"parts": parts, "config": chosen.config.model_dump() | said.config}), chosen


def typed_of(plan: RunPlan) -> dict[str, str]:
    return {"name": plan.name, "priority": plan.priority, "device": plan.device,
            **{_PART + name: choice for name, choice in plan.parts.items()},
            **{name: forms.written(value) for name, value in plan.config.items()}}  # fmt: skip


def plan_typed(kind: RunKind, typed: Mapping[str, str]) -> RunPlan:
    """What the form said. An unticked box sends nothing, which means no."""
    known = PLANS[kind].model_fields
    config: dict[str, object] = {name: typed.get(name, "") for name in known}
    parts = {name.removeprefix(_PART): choice for name, choice in typed.items() if name.startswith(_PART)}
    return RunPlan(name=typed.get("name", ""), parts=parts, config=config, **_place(typed))


def _place(typed: Mapping[str, str]) -> dict[str, str]:
    """Its place in the line, where anything is said of it."""
    return {name: typed[name] for name in ("priority", "device") if name in typed}


def build(
    session: Session, project: Project, kind: RunKind, typed: Mapping[str, str], error: DomainError | None
) -> NewRun:
    wrong = error.fields if isinstance(error, Invalid) else {}
    turn = projects.current_round(session, project)
    config = _config(kind, typed)
    parts = {name.removeprefix(_PART): choice for name, choice in typed.items() if name.startswith(_PART)}
    presets = offers.offered_presets(session, project, kind, creation.subject_model(session, kind, parts))
    preset = next((each for each in presets if each.name == typed.get("preset")), presets[0])
    return NewRun(
        kind=kind, title=f"New run: {kind_name(kind, config)}", about=(PLANS[kind].__doc__ or "").strip(),
        name=typed.get("name", ""), default_name=default_name(kind, config, turn.number),
        name_wrong=wrong.get("name"),
        parts=[_part_field(session, project, part, typed.get(_PART + part.name, NONE), wrong, turn.number)
               for part in PARTS[kind]],
        fields=[measuring.with_notes(session, project, each)
                for each in forms.fields(kind, typed, wrong, preset=preset)],
        presets=presets, preset=preset, priority=typed.get("priority", Priority.normal),
        device=typed.get("device", Where.any), wrong=wrong,
    )  # fmt: skip


def _config(kind: RunKind, typed: Mapping[str, str]) -> RunConfig:
    try:
        return forms.parse(kind, {name: typed.get(name, "") for name in PLANS[kind].model_fields})
    except Invalid:
        return PLANS[kind]()


def _part_field(
    session: Session, project: Project, part: Part, chosen: str, wrong: Mapping[str, str], turn: int
) -> PartField:
    options, advice = _snapshots(session, project, part, turn) if part.snapshot else [], ""
    if part.models:
        models = registry.models_of(session, project, kinds=part.models, ready=True)
        initial = offers.initial_policies(session, models) if part.is_start_of_rl else set()
        advice = FROM_INITIAL if part.is_start_of_rl and not initial else ""
        options = [(str(m.id), describe_model(m) + _INITIAL * (m.id in initial)) for m in models]
    if part.is_prefix:
        options = [(str(each.id), each.name) for each in prefixes_of(session, project, offered=True)]
    if not part.is_required and part.name != TEXTS:
        options = [(NONE, "none"), *options]
    return PartField(part, _PART + part.name, chosen, options, wrong.get(part.name), advice)


def describe_model(model: Model) -> str:
    size = f", {short(model.parameters)} parameters" if model.parameters else ""
    doubt = f", {short_warning(model)}" if short_warning(model) else ""
    return f"{model.name} ({model.kind}{size}{doubt})"


def short(number: int) -> str:
    """4,676,352 as 4.7 M."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _snapshots(session: Session, project: Project, part: Part, turn: int) -> list[tuple[str, str]]:
    assert part.snapshot is not None
    fresh = [(NEW, "everything so far")]
    if part.snapshot in _OF_ROUNDS:
        fresh.append((NEW_ROUND, f"of round {turn} only"))
    return fresh + [(str(s.id), describe_snapshot(s)) for s in datasets.snapshots_of(session, project, part.snapshot)]


def count_fresh(session: Session, project: Project, kind: RunKind) -> list[Fresh]:
    """What a run of this kind could freeze now: counting takes a moment in large projects, and follows the form."""
    turn = projects.current_round(session, project)
    return [
        Fresh(
            words=datasets.NOUNS[part.snapshot],
            total=datasets.count_rows(session, project, part.snapshot, fresh_filter(part)),
            of_round=datasets.count_rows(
                session, project, part.snapshot, fresh_filter(part) | {"rounds": [turn.number]}
            )
            if part.snapshot in _OF_ROUNDS
            else None,
        )
        for part in PARTS[kind]
        if part.snapshot is not None
    ]


def describe_snapshot(snapshot: Snapshot) -> str:
    told = f"{snapshot_name(snapshot)} ({snapshot.rows:,} rows, {snapshot.created_at:%Y-%m-%d %H:%M})"
    return f"{told}: {in_words(read_filter(snapshot.filter))}" if snapshot.filter else told


def snapshot_name(snapshot: Snapshot) -> str:
    """`demonstrations@1c9f03`: the kind and the start of its hash."""
    return f"{snapshot.kind}@{snapshot.sha256[:6]}"
