"""A new run: checked before it starts, its inputs frozen, queued."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Invalid, NotFound
from app.core.queue import JobName, enqueue
from app.datasets import service as datasets
from app.datasets.models import Snapshot
from app.prefixes.service import prefix_of_project
from app.projects import service as projects
from app.projects.models import Project, Round
from app.registry import service as registry
from app.registry.models import Model, ModelState
from app.runs import contests, forms, inputs, measuring, offers, refusals, service
from app.runs.code_version import code_version
from app.runs.configs import RunConfig, RunKind, SftConfig
from app.runs.models import Run, RunInput
from app.runs.needs import needs_of
from app.runs.presets import defaults_for
from app.runs.schemas import (
    NEW,
    PARTS,
    SUBJECT,
    Inputs,
    Priority,
    RunPlan,
    SamplingPlan,
    Where,
    kind_name,
)  # fmt: skip


def default_config(kind: RunKind, model: Model | None) -> RunConfig:
    """The values a form starts from: the paper's for a large model, scaled ones for a small one."""
    base = defaults_for(kind, (model.parameters if model else None) or 0)
    if kind != RunKind.sampling:
        return base
    return SamplingPlan(**base.model_dump())


def default_name(kind: RunKind, config: RunConfig, round_number: int) -> str:
    if isinstance(config, SamplingPlan):
        stem = "evaluation" if config.batch_kind == "evaluation" else "completions"
    elif isinstance(config, SftConfig) and config.pretraining_mix:
        stem = "initial-policy"  # what PPO starts from (C.3)
    else:
        stems = {RunKind.reward_model: "rm", RunKind.reward_evaluation: "rm-evaluation",
                 RunKind.prefix_contest: "prefix-contest"}  # fmt: skip
        stem = stems.get(kind, kind_name(kind, config).lower())
    return f"{stem}-round-{round_number}"


def _free_run_name(session: Session, project: Project, wanted: str) -> str:
    """`wanted`, or with a number after it: a run and the model it makes share their name."""
    taken = set(session.scalars(select(Run.name).where(Run.project_id == project.id)))
    number, name = 1, registry.free_name(session, project.id, wanted)
    while name in taken:
        number += 1
        name = registry.free_name(session, project.id, f"{wanted}-{number}")
    return name


def _part_models(session: Session, project: Project, kind: RunKind, chosen: Mapping[str, str]) -> dict[str, Model]:
    models: dict[str, Model] = {}
    wrong: dict[str, str] = {}
    for part in PARTS[kind]:
        if not part.models:
            continue
        if not chosen.get(part.name):
            if part.is_required:
                wrong[part.name] = f"Choose a model: {part.help}"
            continue
        try:
            model = registry.model_of_project(session, project, uuid.UUID(chosen[part.name]))
        except (ValueError, NotFound):
            wrong[part.name] = "There is no such model in this project."
            continue
        if model.kind not in part.models or model.state != ModelState.ready:
            needed = " or ".join(part.models)
            wrong[part.name] = (
                f"{model.name} is a {model.kind} model, {model.state}; this needs a ready {needed} model."
            )
        models[part.name] = model
    if wrong:
        raise Invalid(next(iter(wrong.values())), fields=wrong)
    return models


def _part_prefixes(
    session: Session, project: Project, kind: RunKind, chosen: Mapping[str, str]
) -> dict[str, uuid.UUID]:
    found: dict[str, uuid.UUID] = {}
    for part in PARTS[kind]:
        if part.is_prefix and chosen.get(part.name):
            try:
                found[part.name] = prefix_of_project(session, project, uuid.UUID(chosen[part.name])).id
            except (ValueError, NotFound) as missing:
                said = "There is no such prefix in this project."
                raise Invalid(said, fields={part.name: said}) from missing
    return found


def _place(plan: RunPlan) -> tuple[Priority, Where]:
    wrong = {}
    if plan.priority not in list(Priority):
        wrong["priority"] = f"Choose {', '.join(Priority)}."
    if plan.device not in list(Where):
        wrong["device"] = f"Choose {', '.join(Where)}."
    if wrong:
        raise Invalid("There is no such priority or place.", fields=wrong)
    return Priority(plan.priority), Where(plan.device)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can work, with what it reads."""

    kind: RunKind
    name: str
    config: RunConfig
    turn: Round
    models: dict[str, Model]
    snapshots: dict[str, Snapshot]
    files: dict[str, uuid.UUID]
    prefixes: dict[str, uuid.UUID]
    priority: Priority
    device: Where


def prepare_run(session: Session, project: Project, kind: RunKind, plan: RunPlan) -> Prepared:
    """Check the plan and freeze what it reads. What can't work is refused here, in words. This takes seconds with many
    labels, so a session that reads does it, from one state of the database."""
    config = forms.parse(kind, plan.config)
    priority, device = _place(plan)
    models = _part_models(session, project, kind, plan.parts)
    models = measuring.needed_models(config, models)
    refusals.refuse_short_context(
        config, {SUBJECT[kind]: models[SUBJECT[kind]]} if kind == RunKind.evaluation else models
    )
    prefixes = _part_prefixes(session, project, kind, plan.parts)
    refusals.refuse_bad_sampling(config, models, prefixes)
    contests.refuse_too_few(config, prefixes)
    refusals.refuse_bad_ensemble(models)
    turn = projects.current_round(session, project)
    name = registry.check_name(plan.name.strip() or default_name(kind, config, turn.number))
    snapshots = inputs.freeze(session, project, kind, config, plan.parts, turn=turn)
    files = measuring.newest_files(session, project, config)
    return Prepared(kind, name, config, turn, models, snapshots, files, prefixes, priority, device)


def create_run(session: Session, project: Project, prepared: Prepared, *, by: Person, key: str | None = None) -> Run:
    """Keep what was prepared, and queue it."""
    snapshots = {part: datasets.keep(session, each, by) for part, each in prepared.snapshots.items()}
    sizes = {part: model.parameters or 0 for part, model in prepared.models.items()}
    needs = needs_of(prepared.kind, prepared.config, sizes)
    run = Run(
        project_id=project.id,
        round_id=prepared.turn.id,
        kind=prepared.kind,
        name=_free_run_name(session, project, prepared.name),
        key=key,
        config=prepared.config.model_dump(mode="json"),
        seed=prepared.config.seed,
        created_by=by.id,
        code_version=code_version(),
        priority=prepared.priority,
        device=prepared.device,
        gpu_bytes=needs.gpu,
        cpu_bytes=needs.cpu,
    )
    session.add(run)
    session.flush()
    _keep_inputs(
        session,
        run,
        Inputs(
            {part: model.id for part, model in prepared.models.items()},
            {part: snapshot.id for part, snapshot in snapshots.items()},
            prepared.files,
            prepared.prefixes,
        ),
    )
    service.log(session, run.id, f"{by.name} asked for it.")
    audit.record(session, by, "run.create", subject=run, kind=prepared.kind)
    enqueue(session, JobName.run, run.id)
    session.flush()
    return run


def _keep_inputs(session: Session, run: Run, chosen: Inputs) -> None:
    session.add_all(RunInput(run_id=run.id, part=part, model_id=id_) for part, id_ in chosen.models.items())
    session.add_all(RunInput(run_id=run.id, part=part, snapshot_id=id_) for part, id_ in chosen.snapshots.items())
    session.add_all(RunInput(run_id=run.id, part=part, file_id=id_) for part, id_ in chosen.files.items())
    session.add_all(RunInput(run_id=run.id, part=part, prefix_id=id_) for part, id_ in chosen.prefixes.items())
    session.flush()


def plan_of(session: Session, run: Run) -> RunPlan:
    """A plan that asks for the same again: the form of a clone starts from it."""
    rows = session.scalars(select(RunInput).where(RunInput.run_id == run.id))
    parts = {row.part: str(row.model_id or row.snapshot_id or row.prefix_id) for row in rows if not row.file_id}
    return RunPlan(name="", parts=parts, config=run.config, priority=run.priority, device=run.device)


def suggested_parts(session: Session, project: Project, kind: RunKind) -> dict[str, str]:
    """The newest fitting model for every part that must have one, and fresh snapshots."""
    chosen: dict[str, str] = {}
    for part in PARTS[kind]:
        if part.snapshot is not None:
            chosen[part.name] = NEW
        elif part.is_required:
            chosen[part.name] = _newest_of(session, project, kind, part.models)
    return chosen


def _newest_of(session: Session, project: Project, kind: RunKind, kinds: tuple[Any, ...]) -> str:
    """SFT starts from the base again; the others from the newest of the most trained kind there is."""
    order = list(kinds) if kind == RunKind.sft else sorted(kinds, key=_TRAINED.__getitem__, reverse=True)
    if kind in (RunKind.ppo, RunKind.reward_model, RunKind.cross_validation, RunKind.dpo, RunKind.rloo):
        order = sorted(kinds, key=lambda k: (k != "sft", k != "reward", -_TRAINED[k]))
    for model_kind in order:
        models = registry.models_of(session, project, kinds=[model_kind], ready=True)
        if kind in (RunKind.ppo, RunKind.rloo) and models:
            return str(offers.recommended_start(session, models).id)
        if models:
            return str(models[0].id)
    return ""


_TRAINED = {"base": 0, "sft": 1, "policy": 2, "reward": 1}


def subject_model(session: Session, kind: RunKind, parts: Mapping[str, str]) -> Model | None:
    """The model whose size decides the form's defaults."""
    try:
        return session.get(Model, uuid.UUID(parts.get(SUBJECT[kind], "")))
    except ValueError:
        return None


def round_of(session: Session, run: Run) -> Round | None:
    return session.get(Round, run.round_id) if run.round_id else None
