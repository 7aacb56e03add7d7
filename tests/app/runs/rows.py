"""Rows of the runs room for tests."""

from datetime import timedelta

from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.labeling import service as labeling
from app.projects.models import Project
from app.registry.models import Model, ModelKind
from app.runs import service
from app.runs.configs import RunKind
from app.runs.models import Run, RunInput, RunState
from app.runs.schemas import PLANS, SUBJECT
from tests.factories import make_model, make_prompt


def make_starter(session: Session, project: Project, writer: Person) -> Model:
    """What a first run of SFT needs: a model of a known size, and demonstrations."""
    model = make_model(session, project, name="starter")
    model.parameters, model.context = 4_700_000, 512
    for _ in range(3):
        labeling.record_demonstration(session, make_prompt(session, project), writer, "Once. The end.")
    return model


def make_run(
    session: Session,
    project: Project,
    *,
    kind: RunKind = RunKind.sft,
    name: str = "sft-round-1",
    state: RunState = RunState.queued,
    model: Model | None = None,
) -> Run:
    """A run with the model it starts from, queued unless said otherwise."""
    model = model or make_model(session, project)
    config = PLANS[kind]()
    run = Run(project_id=project.id, kind=kind, name=name, config=config.model_dump(mode="json"), state=state)
    session.add(run)
    session.flush()
    session.add(RunInput(run_id=run.id, part=SUBJECT[kind], model_id=model.id))
    session.flush()
    return run


def make_running(session: Session, project: Project, *, worker: str = "worker-1", silent_for: float = 0) -> Run:
    """A claimed run whose worker was last heard of `silent_for` seconds ago."""
    run = service.claim(session, make_run(session, project).id, worker=worker)
    assert run is not None
    run.heartbeat_at = now() - timedelta(seconds=silent_for)
    session.flush()
    return run


def make_policy(session: Session, project: Project) -> Model:
    return make_model(session, project, kind=ModelKind.sft)
