"""What the current round has so far, read in a few queries for the overview."""

import uuid
from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Group
from app.labeling.current import is_current
from app.labeling.models import Batch, BatchKind, BatchState, Completion, Demonstration, Item, Ranking
from app.labeling.progress import count_judgments
from app.projects import service as projects
from app.projects.models import Project, Round
from app.prompts.models import Prompt, Split
from app.registry import service as registry
from app.registry.models import Model, ModelKind
from app.runs.configs import RunKind
from app.runs.inputs import LEAST_RANKINGS
from app.runs.models import Run
from app.runs.waiting import Wait, waits_of


@dataclass(frozen=True, slots=True)
class Labels:
    """Judgments of the round's batches of one kind."""

    wanted: int = 0
    got: int = 0
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    round: Round
    runs: list[Run]  # of this round, the newest first
    models: list[Model]  # of the project, ready, the newest first
    demonstrations: int  # in the whole project
    has_rankings: bool  # in the whole project, enough to learn from
    completions: int  # sampled for rankings in this round
    has_training_prompts: bool
    has_held_out_labelers: bool
    demonstration_labels: Labels
    ranking_labels: Labels
    evaluation_labels: Labels
    waits: dict[uuid.UUID, Wait]  # of those that are queued

    @property
    def run_ids(self) -> set[uuid.UUID]:
        return {run.id for run in self.runs}

    @property
    def writer(self) -> Model | None:
        """Whose completions are ranked next: the newest policy, else the newest SFT model, else the base."""
        kinds = (ModelKind.policy, ModelKind.sft, ModelKind.base)
        return next((model for model in map(self.model_of_kind, kinds) if model is not None), None)

    def newest_run(self, *kinds: RunKind) -> Run | None:
        return next((run for run in self.runs if run.kind in kinds), None)

    def newest_sampling(self, batch_kind: str) -> Run | None:
        return next((run for run in self.runs if run.kind == RunKind.sampling
                     and run.config.get("batch_kind") == batch_kind), None)  # fmt: skip

    def model_of_kind(self, kind: ModelKind) -> Model | None:
        return next((model for model in self.models if model.kind == kind), None)


def read_turn(session: Session, project: Project, turn: Round) -> Turn:
    runs = list(session.scalars(select(Run).where(Run.round_id == turn.id).order_by(Run.created_at.desc())))
    batches = list(session.scalars(select(Batch).where(Batch.round_id == turn.id)))
    sampled = [batch.run_id for batch in batches if batch.kind == BatchKind.ranking and batch.run_id]
    return Turn(
        round=turn, runs=runs, models=registry.models_of(session, project, ready=True),
        demonstrations=_count_demonstrations(session, project), has_rankings=_has_rankings(session, project),
        completions=_count_completions(session, sampled), has_training_prompts=_has_training_prompts(session, project),
        has_held_out_labelers=any(person.group == Group.held_out for person in projects.members(session, project)),
        demonstration_labels=_labels(session, batches, BatchKind.demonstration),
        ranking_labels=_labels(session, batches, BatchKind.ranking),
        evaluation_labels=_labels(session, batches, BatchKind.evaluation), waits=waits_of(session, runs),
    )  # fmt: skip


def _labels(session: Session, batches: list[Batch], kind: BatchKind) -> Labels:
    own = [batch for batch in batches if batch.kind == kind]
    if not own:
        return Labels()
    is_open = any(batch.state == BatchState.open for batch in own)
    wanted, got = count_judgments(session, own)
    return Labels(wanted, got, is_open=is_open and got < wanted)


def _count_demonstrations(session: Session, project: Project) -> int:
    of_project = exists().where(Prompt.id == Demonstration.prompt_id, Prompt.project_id == project.id)
    return (
        session.scalar(select(func.count()).select_from(Demonstration).where(is_current(Demonstration), of_project))
        or 0
    )


def _has_rankings(session: Session, project: Project) -> bool:
    query = select(Ranking.id).join(Item, Item.id == Ranking.item_id)
    query = query.join(Batch, Batch.id == Item.batch_id).where(
        Batch.project_id == project.id, Batch.kind == BatchKind.ranking, Ranking.cannot_rank.is_(False),
        is_current(Ranking),
    )  # fmt: skip
    return len(session.scalars(query.limit(LEAST_RANKINGS)).all()) == LEAST_RANKINGS


def _count_completions(session: Session, run_ids: list[uuid.UUID]) -> int:
    if not run_ids:
        return 0
    return session.scalar(select(func.count()).select_from(Completion).where(Completion.run_id.in_(run_ids))) or 0


def _has_training_prompts(session: Session, project: Project) -> bool:
    query = select(Prompt.id).where(Prompt.project_id == project.id, Prompt.split == Split.train,
                                    Prompt.is_retired.is_(False))  # fmt: skip
    return session.scalar(query.limit(1)) is not None
