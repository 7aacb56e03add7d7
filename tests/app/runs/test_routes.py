"""The pages of runs: who may see and do what, and what a wrong form keeps."""

import re
import uuid
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.db import reading, writing
from app.projects.models import Project, Round
from app.registry.models import Model, ModelKind
from app.runs import creation, service, workers
from app.runs.configs import RunKind
from app.runs.models import Run, RunState
from app.runs.service import TrainedModel, Written
from app.runs.workers import Device
from tests.app.runs.rows import make_run, make_starter
from tests.conftest import SignIn
from tests.factories import make_model, make_project


@pytest.fixture
def base(project: Project) -> Model:
    with writing() as session:
        return make_starter(session, project, _nobody(session))


def _nobody(session) -> Person:
    return session.scalars(select(Person)).first()


@pytest.fixture
def run(project: Project, admin: Person) -> Run:
    with writing() as session:
        return make_run(session, project)


def _form(base: Model, **changes: str) -> dict[str, str]:
    config = creation.default_config(RunKind.sft, base)
    return {**{k: str(v) for k, v in config.model_dump().items()}, "part.base": str(base.id),
            "part.demonstrations": "new", "name": ""} | changes  # fmt: skip


def test_a_sampling_runs_page_shows_what_the_best_of_n_is_worth(
    sign_in: SignIn, researcher: Person, project: Project
) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.sampling, name="completions")
        claimed = service.claim(session, run.id, worker="box-1")
        assert claimed is not None
        points = [[1, 0.25, 0.0], [2, 0.5, 0.193], [4, 0.75, 0.636]]
        result = {"best_of": [{"model": "sft-1", "kept_of": 4, "points": points}]}
        service.finish(session, run.id, claim=str(claimed.claimed_by), result=result)
    page = sign_in(researcher).get(f"/p/{project.slug}/runs/{run.id}").text
    assert "Best of n: sft-1" in page
    assert "each kept completion is the best of 4" in page
    for shown in (">4<", "0.750", "0.64"):
        assert shown in page


def _count_runs() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Run)) or 0


def _read(run_id: uuid.UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


PAGES = (
    "",
    "/runs",
    "/runs/new/sft",
    "/runs/new/ppo",
    "/runs/new/sampling",
    "/runs/new/reward_model",
    "/runs/new/cross_validation",
    "/runs/new/evaluation",
    "/runs/new/prefix_contest",
    "/models",
)


@pytest.mark.parametrize("page", PAGES)
def test_pages_ask_who_is_there(client: TestClient, project: Project, page: str) -> None:
    answer = client.get(f"/p/{project.slug}{page}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("page", PAGES)
def test_an_admin_sees_every_page(admin: Person, sign_in: SignIn, project: Project, page: str) -> None:
    answer = sign_in(admin).get(f"/p/{project.slug}{page}")
    assert answer.status_code == 200
    assert "style=" not in answer.text
    assert answer.text.count("<h1>") == 1


def test_a_labeler_is_sent_to_the_desk_and_sees_no_run(
    labeler: Person, sign_in: SignIn, project: Project, run: Run
) -> None:
    browser = sign_in(labeler)
    assert browser.get(f"/p/{project.slug}").headers["location"] == f"/p/{project.slug}/desk"
    assert browser.get(f"/p/{project.slug}/runs").status_code == 403
    assert browser.get(f"/p/{project.slug}/runs/{run.id}").status_code == 403
    assert browser.get(f"/api/v1/runs/{run.id}/metrics").status_code == 403


def test_a_researcher_sees_runs_and_changes_none(
    researcher: Person, sign_in: SignIn, project: Project, run: Run, base: Model
) -> None:
    browser = sign_in(researcher)
    page = browser.get(f"/p/{project.slug}/runs/{run.id}")
    assert page.status_code == 200
    assert "/stop" not in page.text
    assert browser.post(f"/p/{project.slug}/runs/{run.id}/stop").status_code == 403
    assert browser.post(f"/p/{project.slug}/runs/new/sft", data=_form(base)).status_code == 403
    assert browser.post(f"/p/{project.slug}/rounds").status_code == 403
    assert _read(run.id).state == RunState.queued


def test_an_admin_starts_a_run(admin: Person, sign_in: SignIn, project: Project, base: Model) -> None:
    browser = sign_in(admin)
    offered = browser.get(f"/p/{project.slug}/runs/new/sft")
    assert "9.65e-6" in offered.text, "the paper's value stands beside the field"
    answer = browser.post(f"/p/{project.slug}/runs/new/sft", data=_form(base, epochs="2"))
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"])
    assert "sft-round-1" in page.text
    assert "No worker is running" in page.text
    assert _count_runs() == 1


def test_how_much_there_is_to_read_follows_the_form(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    page, counted = f"/p/{project.slug}/runs/new/sft", 'demonstrations <b class="num">3</b> (of this round 0)'
    at_once = sign_in(admin).get(page).text
    assert counted not in at_once
    assert f'hx-get="{page}?figures=true"' in at_once
    assert counted in sign_in(admin).get(f"{page}?figures=true").text
    sampling = sign_in(admin).get(f"/p/{project.slug}/runs/new/sampling").text
    assert "figures=true" not in sampling, "it samples for prompts that it chooses itself"


def _values(page: str) -> dict[str, str]:
    """The number fields of a form as they stand."""
    return dict(re.findall(r'name="(\w+)" type="number".*? value="([^"]*)"', page))


def test_a_preset_fills_the_form_and_says_where_each_value_is_from(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    browser = sign_in(admin)
    page = browser.get(f"/p/{project.slug}/runs/new/sft", params={"preset": "initial-175b"}).text
    values = _values(page)
    assert (values["learning_rate"], values["batch_size"], values["epochs"]) == ("2.45e-06", "8", "2")
    assert '<option value="initial-175b" selected>' in page
    assert "The paper&#39;s value (C.3)." in page
    scaled = browser.get(f"/p/{project.slug}/runs/new/sft").text
    assert "Scaled to a model of this size (ours)." in scaled
    assert "Our recommendation (REC)." in scaled


def test_filling_in_a_preset_keeps_the_parts_and_the_name_and_replaces_the_settings(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    with writing() as session:
        make_model(session, project, name="newer")  # which a form would start with
    typed = _form(base, epochs="77", name="mine", preset="paper-1.3b", fill="1")
    page = sign_in(admin).get(f"/p/{project.slug}/runs/new/sft", params=typed).text
    assert f'<option value="{base.id}" selected>' in page
    assert 'value="mine"' in page
    assert _values(page)["epochs"] == "16"


def test_a_links_own_setting_goes_before_the_presets(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    page = sign_in(admin).get(f"/p/{project.slug}/runs/new/sft?preset=initial&epochs=3").text
    assert _values(page)["epochs"] == "3"
    assert "Set by hand." in page


def test_a_preset_that_is_not_there_is_refused_in_words(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    answer = sign_in(admin).get(f"/p/{project.slug}/runs/new/ppo?preset=initial")
    assert answer.status_code == 404
    assert "There is no preset" in answer.text
    assert "paper-6b" in answer.text


def test_a_wrong_form_keeps_its_preset(admin: Person, sign_in: SignIn, project: Project, base: Model) -> None:
    typed = _form(base, epochs="0", preset="paper-6b")
    page = sign_in(admin).post(f"/p/{project.slug}/runs/new/sft", data=typed)
    assert page.status_code == 422
    assert '<option value="paper-6b" selected>' in page.text


@pytest.mark.parametrize("kind", ["ppo", "rloo"])
def test_rl_starts_from_the_initial_policy_where_there_is_one(
    admin: Person, sign_in: SignIn, project: Project, base: Model, kind: str
) -> None:
    browser = sign_in(admin)
    with writing() as session:
        make_model(session, project, kind=ModelKind.sft, name="sft-by-hand")
    without = browser.get(f"/p/{project.slug}/runs/new/{kind}").text
    assert "2 epochs with 10 % plain text mixed in (C.3)" in without
    assert f'href="/p/{project.slug}/runs/new/sft?preset=initial"' in without
    with writing() as session:
        initial, plain = (_trained(session, project, name=name, mix=mix) for name, mix in (("init", 0.1), ("sft", 0.0)))
    page = browser.get(f"/p/{project.slug}/runs/new/{kind}").text
    assert f'<option value="{initial.id}" selected>init (sft) · initial policy for RL, as in the paper</option>' in page
    assert f'<option value="{plain.id}">sft (sft)</option>' in page
    assert "preset=initial" not in page


def _trained(session: Session, project: Project, *, name: str, mix: float) -> Model:
    """An SFT model of the project's round, with the run that made it."""
    run = make_run(session, project, name=name)
    run.round_id = session.scalars(select(Round.id).where(Round.project_id == project.id)).one()
    run.config = {**run.config, "pretraining_mix": mix}
    model = make_model(session, project, kind=ModelKind.sft, name=name)
    model.run_id = run.id
    session.flush()
    return model


def test_a_wrong_form_keeps_what_was_typed(admin: Person, sign_in: SignIn, project: Project, base: Model) -> None:
    typed = _form(base, epochs="0", learning_rate="0.00123", name="my-first", seed="99")
    answer = sign_in(admin).post(f"/p/{project.slug}/runs/new/sft", data=typed)
    assert answer.status_code == 422
    for kept in ('value="0.00123"', 'value="my-first"', 'value="99"', "At least 1."):
        assert kept in answer.text
    assert _count_runs() == 0


def test_a_run_that_cannot_work_is_refused_with_what_to_do(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    typed = {k: str(v) for k, v in creation.default_config(RunKind.reward_model, base).model_dump().items()}
    answer = sign_in(admin).post(f"/p/{project.slug}/runs/new/reward_model", data={**typed, "part.base": str(base.id)})
    assert answer.status_code == 422
    assert "at least 2 training rankings" in answer.text
    assert "Rank more completions first" in answer.text
    assert _count_runs() == 0


@pytest.mark.parametrize("name", ["../up", "a b", "<script>", "x" * 81])
def test_a_name_that_no_model_can_have_is_refused(
    admin: Person, sign_in: SignIn, project: Project, base: Model, name: str
) -> None:
    answer = sign_in(admin).post(f"/p/{project.slug}/runs/new/sft", data=_form(base, name=name))
    assert answer.status_code == 422
    assert "letters, digits" in answer.text
    assert "<script>" not in answer.text.replace('<script src="', "")


def test_an_unticked_box_means_no(admin: Person, sign_in: SignIn, project: Project, base: Model) -> None:
    with writing() as session:
        reward = make_model(session, project, kind=ModelKind.reward)
    config = creation.default_config(RunKind.ppo, base).model_dump()
    typed = {k: str(v) for k, v in config.items() if not isinstance(v, bool)}
    typed |= {"part.policy": str(base.id), "part.reward_model": str(reward.id), "ptx_coefficient": "0"}
    answer = sign_in(admin).post(f"/p/{project.slug}/runs/new/ppo", data=typed)
    assert answer.status_code == 303
    with reading() as session:
        kept = session.scalars(select(Run)).one().config
    assert (kept["whiten_advantages"], kept["whiten_rewards"]) == (False, False)


def test_stopping_and_continuing(admin: Person, sign_in: SignIn, project: Project, run: Run) -> None:
    browser, here = sign_in(admin), f"/p/{project.slug}/runs/{run.id}"
    assert browser.post(f"{here}/stop").status_code == 303
    assert _read(run.id).state == RunState.cancelled
    assert browser.post(f"{here}/stop").status_code == 409
    assert ">Continue</button>" in browser.get(here).text
    assert browser.post(f"{here}/continue").status_code == 303
    assert _read(run.id).state == RunState.queued
    assert browser.post(f"{here}/continue").status_code == 409


def test_a_running_run_is_shown_live_until_it_ends(admin: Person, sign_in: SignIn, project: Project, run: Run) -> None:
    with writing() as session:
        claimed = service.claim(session, run.id, worker="box-1")
        assert claimed is not None
        for step in (1, 2, 3):
            service.record_step(
                session,
                run.id,
                claim=str(claimed.claimed_by),
                step=step,
                total=9,
                metrics={"loss": 3.0 / step, "tokens_per_second": 1200.0},
                samples=[Written("A <b>dog</b>", "Once", "Once upon")],
                checkpointed=step == 2,
            )
        workers.report(session, "box-1", device=Device("cpu"), run_id=run.id)
    browser, here = sign_in(admin), f"/p/{project.slug}/runs/{run.id}"
    page = browser.get(here).text
    progress = (
        "Step 3 of 9",
        "1,200 tokens/s",
        "less than a minute left",
        "last checkpoint at step 2",
        "1 worker busy",
    )
    for shown in (*progress, "Once upon", "A &lt;b&gt;dog", 'hx-trigger="every 2s"', "Stop and keep checkpoint"):
        assert shown in page
    assert "no sign of life" not in page
    with writing() as session:
        service.set_note(session, run.id, claim=str(claimed.claimed_by), note="Waits for a sampling worker.")
    fragment = browser.get(here, headers={"hx-request": "true"}).text
    assert "Waits for a sampling worker." in fragment
    assert "<html" not in fragment
    assert 'id="run-head"' in fragment
    with writing() as session:
        session.get_one(Run, run.id).heartbeat_at = now() - timedelta(minutes=5)
    silent = browser.get(here).text
    assert "Its worker gives no sign of life." in silent
    assert "The last one came 5 min ago." in silent
    assert 'id="run-below"' in fragment
    with writing() as session:
        service.fail(session, run.id, claim=str(claimed.claimed_by), reason="The loss is nan.")
    failed = browser.get(here, headers={"hx-request": "true"}).text
    assert "every 2s" not in failed
    assert "The loss is nan. The checkpoint at step 2 is kept" in failed


def test_signs_of_reward_hacking_stand_on_the_page(
    admin: Person, sign_in: SignIn, project: Project, base: Model
) -> None:
    client = sign_in(admin)
    with writing() as session:
        queued = make_run(session, project, kind=RunKind.ppo, name="ppo-round-1", model=base)
        run = service.claim(session, queued.id, worker="box-1")
        assert run is not None
        for step in range(1, 13):
            metrics = {"reward": 0.1 * step, "kl": 0.1, "length": 20.0 + 10 * step, "entropy": 2.0}
            service.record_step(session, run.id, claim=str(run.claimed_by), step=step, total=20, metrics=metrics)
    page = client.get(f"/p/{project.slug}/runs/{run.id}").text
    assert "Completions grow longer." in page
    assert "120 tokens, 50.0 at first" in page
    assert "The policy is far" not in page


def test_metrics_are_asked_for_step_by_step(admin: Person, sign_in: SignIn, project: Project, run: Run) -> None:
    with writing() as session:
        claimed = service.claim(session, run.id, worker="box-1")
        assert claimed is not None
        for step in (1, 2, 3):
            service.record_step(session, run.id, claim=str(claimed.claimed_by), step=step, total=9,
                                metrics={"loss": float(step), "unknown": 1.0})  # fmt: skip
    browser = sign_in(admin)
    body = browser.get(f"/api/v1/runs/{run.id}/metrics?after=1").json()
    assert [row["step"] for row in body["rows"]] == [2, 3]
    assert (body["state"], body["step"], body["total"]) == ("running", 3, 9)
    assert body["groups"] == [{"title": "Loss", "series": [{"key": "loss", "label": "training"}]}]
    assert browser.get(f"/api/v1/runs/{run.id}/metrics?after=-1").status_code == 422
    assert browser.get(f"/api/v1/runs/{uuid.uuid4()}/metrics").status_code == 404


def test_another_projects_run_is_not_found(admin: Person, sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        foreign = make_run(session, make_project(session))
    browser = sign_in(admin)
    assert browser.get(f"/p/{project.slug}/runs/{foreign.id}").status_code == 404
    assert browser.post(f"/p/{project.slug}/runs/{foreign.id}/stop").status_code == 404
    assert _read(foreign.id).state == RunState.queued


def test_a_clone_starts_from_the_same_settings(admin: Person, sign_in: SignIn, project: Project, base: Model) -> None:
    browser = sign_in(admin)
    made = browser.post(f"/p/{project.slug}/runs/new/sft", data=_form(base, epochs="7")).headers["location"]
    form = browser.get(f"/p/{project.slug}/runs/new/sft?clone={made.rsplit('/', 1)[1]}").text
    assert 'id="epochs" name="epochs" type="number" step="1" min="1" max="1000" required value="7"' in form
    assert f'<option value="{base.id}" selected>' in form


def test_a_models_page_goes_back_to_the_labels(admin: Person, sign_in: SignIn, project: Project, base: Model) -> None:
    browser = sign_in(admin)
    made = browser.post(f"/p/{project.slug}/runs/new/sft", data=_form(base)).headers["location"]
    run_id = uuid.UUID(made.rsplit("/", 1)[1])
    with writing() as session:
        claimed = service.claim(session, run_id, worker="box-1")
        assert claimed is not None
        trained = TrainedModel(ModelKind.sft, base.id, f"models/{run_id}", 4_700_000, 512, {"valid_loss": 1.92})
        service.finish(session, run_id, claim=str(claimed.claimed_by), result={}, model=trained)
        model_id = session.scalars(select(Model.id).where(Model.run_id == run_id)).one()
    page = browser.get(f"/p/{project.slug}/models/{model_id}").text
    for shown in ("starter", "3 demonstrations, by 1 labeler", "1.92", "demonstrations@"):
        assert shown in page
    assert browser.get(f"/p/{project.slug}/models/{uuid.uuid4()}").status_code == 404


def test_the_next_round_and_its_targets(admin: Person, sign_in: SignIn, project: Project) -> None:
    browser = sign_in(admin)
    wrong = browser.post(f"/p/{project.slug}/rounds/targets", data={"demonstrations": "-3", "rankings": "many"})
    assert wrong.status_code == 422
    assert (
        browser.post(f"/p/{project.slug}/rounds/targets", data={"demonstrations": "7", "rankings": "30"}).status_code
        == 303
    )
    assert "7 written" in browser.get(f"/p/{project.slug}").text
    assert browser.post(f"/p/{project.slug}/rounds").status_code == 303
    assert "<h1>Round 2</h1>" in browser.get(f"/p/{project.slug}").text
    with reading() as session:
        first = session.scalars(select(Round).where(Round.number == 1)).one()
    assert first.closed_at is not None
    assert first.closed_at <= now()
