"""The loop as one page: the seven steps of the current round, what each needs, how far it is, and what comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person
from app.core.errors import Invalid
from app.projects import service as projects
from app.projects.models import Project, Round
from app.registry.models import Model, ModelKind
from app.runs.configs import RunKind
from app.runs.curves import number as figure
from app.runs.judged import short_warning
from app.runs.models import Run, RunState
from app.runs.schemas import kind_name
from app.runs.turn import Labels, Turn, read_turn
from app.runs.waiting import Wait

DEFAULT_TARGETS = {"demonstrations": 40, "rankings": 200}
ENOUGH = 0.8  # share of a batch's rankings at which the reward model is recommended: the last ones come slowly


class Mark(StrEnum):
    """How a step stands; the chip's colour."""

    done = "good"
    live = "live"
    failed = "bad"
    ready = "ready"
    waiting = "waiting"


@dataclass(frozen=True, slots=True)
class Link:
    address: str
    text: str


@dataclass(frozen=True, slots=True)
class LoopStep:
    number: int
    name: str
    needs: str
    percent: float
    mark: Mark
    chip: str
    result: str = ""
    link: Link | None = None
    action: Link | None = None
    is_urgent: bool = False  # worth the page's one primary button, when it is the first such


@dataclass(frozen=True, slots=True)
class Loop:
    turn: Round
    steps: list[LoopStep]
    next: LoopStep | None
    is_live: bool
    is_complete: bool
    targets: dict[str, int]


def read_loop(session: Session, project: Project) -> Loop:
    turn = read_turn(session, project, projects.current_round(session, project))
    start = f"/p/{project.slug}"
    targets = DEFAULT_TARGETS | {key: int(value) for key, value in turn.round.targets.items()}
    steps = [
        _demonstrations(turn, start, targets["demonstrations"]),
        _training(turn, start, 2, RunKind.sft, needs="demonstrations",
                  waits="" if turn.demonstrations else "waits for demonstrations"),
        _sampling(turn, start),
        _rankings(turn, start, targets["rankings"]),
        _reward_model(turn, start),
        _ppo(turn, start),
        _evaluation(turn, start),
    ]  # fmt: skip
    return Loop(
        turn.round, steps, next=next((step for step in steps if step.action and step.is_urgent), None),
        is_live=any(step.mark == Mark.live for step in steps),
        is_complete=steps[5].mark == Mark.done, targets=targets,
    )  # fmt: skip


def _share(got: float, wanted: float) -> float:
    return min(100.0, 100 * got / wanted) if wanted else 0.0


def _demonstrations(turn: Turn, start: str, target: int) -> LoopStep:
    written = turn.demonstrations
    is_done = written >= target
    return LoopStep(
        1, "Demonstrations", f"{target:,} written", _share(written, target),
        mark=Mark.done if is_done else Mark.live if turn.demonstration_labels.is_open else Mark.ready,
        chip="Done" if is_done else "Writing" if turn.demonstration_labels.is_open else "",
        result="" if written else "none yet",
        link=Link(f"{start}/labeling", f"{written:,} written") if written else None,
        action=None if is_done or turn.demonstration_labels.is_open else Link(f"{start}/labeling/new", "Ask for some…"),
        is_urgent=not written,
    )  # fmt: skip


def _training(
    turn: Turn,
    start: str,
    number: int,
    kind: RunKind,
    *,
    needs: str,
    waits: str,
    urgent: bool = True,
    progress_note: str = "",
) -> LoopStep:
    """SFT, reward model and policy stand alike: a run on its way, a model made, or a button."""
    run, model = turn.newest_run(kind, *_INSTEAD.get(kind, ())), turn.model_of_kind(_MAKES[kind])
    train = Link(f"{start}/runs/new/{kind}", "Train…")
    shown = run.kind if run else kind
    name = {RunKind.ppo: "PPO"}.get(shown, kind_name(shown))
    if run is not None and run.state in (RunState.queued, RunState.running):
        return _on_its_way(turn, run, start, number, name, needs)
    if run is not None and run.state == RunState.failed:
        return LoopStep(number, name, needs, _run_share(run), Mark.failed, "Failed", result=_short(run.error or ""),
                        link=_run_link(run, start), action=train)  # fmt: skip
    if model is not None:
        is_own = model.run_id in turn.run_ids
        return LoopStep(number, name, needs, 100.0, Mark.done, "Done" if is_own else "From before",
                        result=_said(model), link=Link(f"{start}/models/{model.id}", model.name),
                        action=None if is_own else Link(train.address, "Train again…"),
                        is_urgent=not is_own and kind != RunKind.sft and not waits and urgent)  # fmt: skip
    if waits:
        return LoopStep(number, name, needs, 0.0, Mark.waiting, "", result=waits)
    return LoopStep(number, name, needs, 0.0, Mark.ready, "", result=progress_note or "ready to train", action=train,
                    is_urgent=urgent)  # fmt: skip


_MAKES = {RunKind.sft: ModelKind.sft, RunKind.reward_model: ModelKind.reward, RunKind.ppo: ModelKind.policy}
_INSTEAD = {RunKind.ppo: (RunKind.dpo, RunKind.rloo)}  # other ways to what the step makes


def _on_its_way(turn: Turn, run: Run, start: str, number: int, name: str, needs: str) -> LoopStep:
    said = f"step {run.step:,} of {run.total_steps:,}" if run.total_steps else run.progress_note or "starting"
    is_queued = run.state == RunState.queued
    said = _waits(turn.waits.get(run.id)) if is_queued else said
    return LoopStep(number, name, needs, _run_share(run), Mark.live, "Queued" if is_queued else "Running",
                    result=said, link=_run_link(run, start))  # fmt: skip


def _waits(wait: Wait | None) -> str:
    if wait is not None and wait.is_in_vain:
        return _short(wait.why)
    return f"waits for a worker, {wait.ahead:,} before it" if wait and wait.ahead else "waits for a worker"


def _run_link(run: Run, start: str) -> Link:
    return Link(f"{start}/runs/{run.id}", run.name)


def _run_share(run: Run) -> float:
    return _share(run.step, run.total_steps or 0)


def _short(text: str, *, longest: int = 90) -> str:
    return text if len(text) <= longest else text[: longest - 1].rsplit(" ", 1)[0] + "…"


def _said(model: Model) -> str:
    """The one figure that says how good it is."""
    for key, words in _TELLING:
        value = model.metrics.get(key)
        if isinstance(value, int | float):
            said = f"{words} {100 * value:.1f} %" if "accuracy" in key else f"{words} {figure(value)}"
            return ", ".join(filter(None, [said, short_warning(model)]))
    return ""


_TELLING = (
    ("best_valid_accuracy", "validation accuracy"), ("valid_accuracy", "validation accuracy"),
    ("accuracy", "accuracy"), ("valid_reward", "validation reward"), ("reward", "reward"),
    ("best_valid_loss", "validation loss"), ("valid_loss", "validation loss"), ("best_loss", "loss"), ("loss", "loss"),
)  # fmt: skip


def _sampling(turn: Turn, start: str) -> LoopStep:
    run = turn.newest_sampling("ranking")
    writer = turn.writer
    needs = f"{writer.name}, prompts" if writer else "a model, prompts"
    sample = Link(f"{start}/runs/new/sampling", "Sample…")
    if run is not None and run.state in (RunState.queued, RunState.running):
        return _on_its_way(turn, run, start, 3, "Completions", needs)
    if run is not None and run.state == RunState.failed:
        return LoopStep(3, "Completions", needs, _run_share(run), Mark.failed, "Failed", result=_short(run.error or ""),
                        link=_run_link(run, start), action=sample)  # fmt: skip
    if turn.completions:
        return LoopStep(3, "Completions", needs, 100.0, Mark.done, "Done", result=f"{turn.completions:,} completions",
                        link=_run_link(run, start) if run else None)  # fmt: skip
    if writer is None or not turn.has_training_prompts:
        waits = "waits for a model" if writer is None else "waits for prompts: import some"
        return LoopStep(3, "Completions", needs, 0.0, Mark.waiting, "", result=waits)
    is_sft_due = turn.model_of_kind(ModelKind.sft) is not None
    return LoopStep(3, "Completions", needs, 0.0, Mark.ready, "", result="ready to sample", action=sample,
                    is_urgent=is_sft_due)  # fmt: skip


def _labeling(number: int, name: str, needs: str, labels: Labels, start: str, *, waits: str) -> LoopStep:
    """Rankings and evaluations stand alike: judgments got of those wanted."""
    if not labels.wanted:
        return LoopStep(number, name, needs, 0.0, Mark.waiting, "", result=waits)
    is_done = labels.got >= labels.wanted
    chip = "Done" if is_done else "Labeling" if labels.is_open else "Paused"
    mark = Mark.done if is_done else Mark.live if labels.is_open else Mark.ready
    return LoopStep(number, name, needs, _share(labels.got, labels.wanted), mark, chip,
                    link=Link(f"{start}/labeling", f"{labels.got:,} of {labels.wanted:,} ranked"),
                    action=None if is_done else Link(f"{start}/desk", "Rank…"))  # fmt: skip


def _rankings(turn: Turn, start: str, target: int) -> LoopStep:
    wanted = turn.ranking_labels.wanted or target
    return _labeling(4, "Rankings", f"{wanted:,} ranked", turn.ranking_labels, start, waits="waits for completions")


def _reward_model(turn: Turn, start: str) -> LoopStep:
    labels = turn.ranking_labels
    enough = max(2, round(ENOUGH * labels.wanted))
    is_enough = labels.got >= enough
    waits = "" if turn.has_rankings else f"ready at {enough:,} rankings" if labels.wanted else "waits for rankings"
    note = "ready to train" if is_enough else f"better at {enough:,} rankings"
    return _training(turn, start, 5, RunKind.reward_model, needs="rankings", waits=waits, urgent=is_enough,
                     progress_note=note)  # fmt: skip


def _ppo(turn: Turn, start: str) -> LoopStep:
    has_reward = turn.model_of_kind(ModelKind.reward) is not None
    waits = "waits for the reward model" if not has_reward else "" if turn.has_training_prompts else "waits for prompts"
    has_own = any(model.kind == ModelKind.reward and model.run_id in turn.run_ids for model in turn.models)
    return _training(turn, start, 6, RunKind.ppo, needs="reward model, SFT", waits=waits, urgent=has_own)


def _evaluation(turn: Turn, start: str) -> LoopStep:
    run = turn.newest_sampling("evaluation")
    needs = "held-out prompts"
    if run is not None and run.state in (RunState.queued, RunState.running):
        return _on_its_way(turn, run, start, 7, "Evaluation", needs)
    if turn.evaluation_labels.wanted:
        return _labeling(7, "Evaluation", needs, turn.evaluation_labels, start, waits="")
    if turn.model_of_kind(ModelKind.policy) is None:
        return LoopStep(7, "Evaluation", needs, 0.0, Mark.waiting, "", result="waits for a policy")
    compare = Link(f"{start}/runs/new/sampling?{_comparison(turn)}", "Compare…")
    return LoopStep(7, "Evaluation", needs, 0.0, Mark.ready, "", result="ready to sample", action=compare,
                    is_urgent=True)  # fmt: skip


def _comparison(turn: Turn) -> str:
    """The newest policy beside the newest SFT model and the base, one completion of each for every prompt."""
    kinds = (ModelKind.policy, ModelKind.sft, ModelKind.base)
    found = [model for model in map(turn.model_of_kind, kinds) if model is not None]
    parts = [f"{part}={model.id}" for part, model in zip(("model", "model_2", "model_3"), found, strict=False)]
    group = "held_out" if turn.has_held_out_labelers else "everyone"
    return "&".join(["batch_kind=evaluation", "completions_per_prompt=1", f"group={group}", *parts])


def set_targets(session: Session, project: Project, typed: Mapping[str, str], *, by: Person) -> None:
    """How many demonstrations and rankings the current round is to have."""
    turn = projects.current_round(session, project)
    wrong, wanted = {}, {}
    for name in DEFAULT_TARGETS:
        text = typed.get(name, "").strip()
        if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
            wrong[name] = "Write a whole number from 1 to 1,000,000."
        else:
            wanted[name] = int(text)
    if wrong:
        raise Invalid("The targets were not changed.", fields=wrong)
    turn.targets = wanted
    audit.record(session, by, "round.targets", subject=turn, **wanted)
    session.flush()
