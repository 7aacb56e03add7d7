"""The overview: what each of the seven steps says, and what comes next, as the loop goes round."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.accounts.models import Group, Role
from app.labeling import service as labeling
from app.labeling.models import Item
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.models import Split
from app.registry.models import Model, ModelKind
from app.runs import overview, service
from app.runs.configs import RunKind
from app.runs.models import Run, RunState
from app.runs.overview import Loop, Mark
from app.runs.schemas import SamplingPlan
from app.runs.service import TrainedModel
from tests.app.runs.rows import make_run
from tests.factories import make_completion, make_model, make_person, make_project, make_prompt


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def _loop(session: Session, project: Project) -> Loop:
    session.flush()
    return overview.read_loop(session, project)


def _said(loop: Loop) -> list[str]:
    return [step.mark.value for step in loop.steps]


def _in_round(session: Session, project: Project, run: Run) -> Run:
    run.round_id = projects.current_round(session, project).id
    session.flush()
    return run


def _make(session: Session, project: Project, run_kind: RunKind, kind: ModelKind, base: Model) -> Model:
    run = _in_round(session, project, make_run(session, project, kind=run_kind, name=run_kind.value, model=base))
    claimed = service.claim(session, run.id, worker="box-1")
    assert claimed is not None
    trained = TrainedModel(kind, base.id, f"models/{run.id}", 10, 512, {"valid_loss": 1.92})
    service.finish(session, run.id, claim=str(claimed.claimed_by), result={}, model=trained)
    return session.scalars(select(Model).where(Model.run_id == run.id)).one()


def _sampled(session: Session, project: Project, model: Model, *, items: int = 10, ranked: int = 0) -> Run:
    run = make_run(session, project, kind=RunKind.sampling, name="completions", model=model)
    run.config = SamplingPlan().model_dump(mode="json")
    run.state = RunState.succeeded
    _in_round(session, project, run)
    shown = {}
    for _ in range(items):
        prompt = make_prompt(session, project)
        shown[prompt.id] = [make_completion(session, prompt, model=model) for _ in range(2)]
        for completion in shown[prompt.id]:
            completion.run_id = run.id
    batch = labeling.create_ranking_batch(session, project, completions_by_prompt=shown, run_id=run.id)
    of_batch = Item.batch_id == batch.id
    session.execute(update(Item).where(of_batch, Item.position < ranked).values(taken=1, got=1))
    return run


def test_an_empty_project_asks_for_demonstrations(session: Session, project: Project) -> None:
    loop = _loop(session, project)
    assert _said(loop) == ["ready", *["waiting"] * 6]
    assert loop.next is not None
    assert loop.next.number == 1
    assert [step.result for step in loop.steps[1:]] == [
        "waits for demonstrations", "waits for a model", "waits for completions", "waits for rankings",
        "waits for the reward model", "waits for a policy",
    ]  # fmt: skip


def test_the_loop_opens_step_by_step(session: Session, project: Project) -> None:
    base, admin = make_model(session, project), make_person(session, role=Role.admin)
    overview.set_targets(session, project, {"demonstrations": "3", "rankings": "10"}, by=admin)
    for _ in range(3):
        labeling.record_demonstration(session, make_prompt(session, project), admin, "Once. The end.")
    loop = _loop(session, project)
    assert (loop.steps[0].mark, loop.steps[0].percent) == (Mark.done, 100)
    assert loop.next == loop.steps[1]

    sft = _make(session, project, RunKind.sft, ModelKind.sft, base)
    loop = _loop(session, project)
    assert (loop.steps[1].mark, loop.steps[1].result) == (Mark.done, "validation loss 1.92")
    assert loop.next == loop.steps[2]
    assert loop.steps[2].needs == f"{sft.name}, prompts"

    _sampled(session, project, sft, items=10, ranked=7)
    loop = _loop(session, project)
    assert loop.steps[2].result == "20 completions"
    assert (loop.steps[3].mark, loop.steps[3].percent) == (Mark.live, 70)
    assert loop.steps[3].link is not None
    assert loop.steps[3].link.text == "7 of 10 ranked"
    assert loop.steps[4].result == "ready at 8 rankings"

    reward = _make(session, project, RunKind.reward_model, ModelKind.reward, sft)
    loop = _loop(session, project)
    assert loop.next == loop.steps[5]
    assert loop.next.action is not None

    _make(session, project, RunKind.ppo, ModelKind.policy, sft)
    loop = _loop(session, project)
    assert loop.is_complete
    assert loop.next == loop.steps[6]
    assert loop.steps[6].action is not None
    assert f"model_2={sft.id}" in loop.steps[6].action.address
    assert "group=everyone" in loop.steps[6].action.address
    assert reward.parent_id == sft.id


def test_a_policy_made_by_dpo_is_the_rounds_policy(session: Session, project: Project) -> None:
    sft = _make(session, project, RunKind.sft, ModelKind.sft, make_model(session, project))
    run = _in_round(session, project, make_run(session, project, kind=RunKind.dpo, name="dpo-round-1", model=sft))
    step = _loop(session, project).steps[5]
    assert (step.name, step.chip) == ("DPO", "Queued")
    assert step.link is not None
    assert str(run.id) in step.link.address
    service.ask_to_stop(session, run, by=make_person(session, role=Role.admin))
    _make(session, project, RunKind.dpo, ModelKind.policy, sft)
    loop = _loop(session, project)
    assert (loop.steps[5].mark, loop.is_complete) == (Mark.done, True)
    assert loop.steps[6].mark == Mark.ready


def test_an_evaluation_goes_to_held_out_labelers_where_there_are_some(session: Session, project: Project) -> None:
    base = make_model(session, project)
    make_model(session, project, kind=ModelKind.policy)
    make_person(session, project=project, group=Group.held_out)
    make_prompt(session, project, split=Split.test)
    action = _loop(session, project).steps[6].action
    assert action is not None
    assert "group=held_out" in action.address
    assert f"model_2={base.id}" in action.address


def test_a_run_on_its_way_shows_its_progress(session: Session, project: Project) -> None:
    run = _in_round(session, project, make_run(session, project))
    assert (_loop(session, project).steps[1].chip, _loop(session, project).is_live) == ("Queued", True)
    claimed = service.claim(session, run.id, worker="box-1")
    assert claimed is not None
    service.record_step(session, run.id, claim=str(claimed.claimed_by), step=3, total=12, metrics={})
    step = _loop(session, project).steps[1]
    assert (step.chip, step.percent, step.result) == ("Running", 25, "step 3 of 12")


def test_a_failed_run_says_so_and_offers_another(session: Session, project: Project) -> None:
    run = _in_round(session, project, make_run(session, project))
    claimed = service.claim(session, run.id, worker="box-1")
    assert claimed is not None
    service.fail(session, run.id, claim=str(claimed.claimed_by), reason="The loss is nan.")
    step = _loop(session, project).steps[1]
    assert step.mark == Mark.failed
    assert step.result.startswith("The loss is nan.")
    assert step.link is not None
    assert step.action is not None


def test_the_next_round_starts_with_the_models_of_the_last(session: Session, project: Project) -> None:
    base, admin = make_model(session, project), make_person(session, role=Role.admin)
    sft = _make(session, project, RunKind.sft, ModelKind.sft, base)
    _sampled(session, project, sft, items=4, ranked=4)
    policy = _make(session, project, RunKind.ppo, ModelKind.policy, sft)
    projects.start_next_round(session, project, by=admin)
    loop = _loop(session, project)
    assert loop.turn.number == 2
    assert loop.steps[1].chip == "From before"
    assert loop.steps[2].mark == Mark.ready
    assert loop.steps[2].needs == f"{policy.name}, prompts"
    assert loop.steps[3].result == "waits for completions"
