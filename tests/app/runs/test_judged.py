"""What a reward model's pages say of it: whether it is worth optimising, its calibration, its taste for length."""

import pytest

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.registry.models import Model, ModelKind
from app.runs import service
from app.runs.configs import RunKind
from app.runs.judged import judged, short_warning, warning
from app.runs.models import Run
from app.runs.service import TrainedModel
from tests.app.runs.rows import make_run
from tests.conftest import SignIn

GOOD = {
    "valid_accuracy": 0.712, "valid_accuracy_low": 0.66, "valid_accuracy_high": 0.759, "valid_pairs": 1234.0,
    "calibration_error": 0.031, "length_correlation": 0.42, "longer_wins_by_labelers": 0.55,
    "longer_wins_by_model": 0.71, "like_length_accuracy": 0.6,
    "calibration": [{"predicted": 0.5, "preferred": 0.5, "pairs": 100.0},
                    {"predicted": 1.0, "preferred": 1.0, "pairs": 25.0}],
}  # fmt: skip


def _finish(session, run: Run, models: list[TrainedModel]) -> None:
    claimed = service.claim(session, run.id, worker="box")
    assert claimed is not None
    service.finish(session, run.id, claim=str(claimed.claimed_by), result={}, model=models[0], others=models[1:])


def _trained(base: Model, key: str, metrics: dict) -> TrainedModel:
    return TrainedModel(ModelKind.reward, base.id, key, 4_700_000, 512, metrics)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "no ranking of a validation prompt was held out"),
        ({"valid_accuracy": 0.56, "valid_accuracy_low": 0.48, "valid_accuracy_high": 0.63, "valid_pairs": 90.0},
         "56.0 % (48.0–63.0) of 90 held-out pairs: no better than a coin"),
        ({"valid_accuracy": 0.7, "valid_accuracy_low": 0.49, "valid_accuracy_high": 0.85, "valid_pairs": 9.0},
         "no better than a coin, as far as that many pairs can tell"),
        ({"valid_accuracy": 0.58, "valid_accuracy_low": 0.55, "valid_accuracy_high": 0.61, "valid_pairs": 3000.0},
         "too weak to be worth it"),
    ],
)  # fmt: skip
def test_a_weak_reward_model_is_warned_of_in_words(figures: dict[str, float], words: str) -> None:
    assert words in warning(figures)


def test_a_good_one_is_not() -> None:
    assert warning(GOOD) == ""


def test_the_calibration_is_drawn_where_its_figures_stand() -> None:
    first, last = judged(Model(kind=ModelKind.reward, metrics=GOOD)).dots
    assert (first.x, first.y, last.x, last.y) == (40, 100, 300, 10)
    assert first.radius == 8.5
    assert last.radius == 5.5  # a quarter of the pairs, half the size


def test_selects_and_lists_say_it_too() -> None:
    assert short_warning(Model(kind=ModelKind.reward, metrics={})) == "never checked"
    weak = GOOD | {"valid_accuracy": 0.55}
    assert short_warning(Model(kind=ModelKind.reward, metrics=weak)) == "too weak to optimise"
    assert short_warning(Model(kind=ModelKind.reward, metrics=GOOD)) == ""
    assert short_warning(Model(kind=ModelKind.sft, metrics={})) == ""


def test_an_ensembles_page_shows_every_member_once(admin: Person, sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.reward_model, name="rm-round-1")
        base = session.query(Model).one()
        made = [_trained(base, f"models/{run.id}-{n}", GOOD | {"valid_accuracy": 0.7 + n / 100}) for n in (1, 2, 3)]
        _finish(session, run, made)
    page = sign_in(admin).get(f"/p/{project.slug}/runs/{run.id}").text
    for name, share in (("rm-round-1", "71.0"), ("rm-round-1-2", "72.0"), ("rm-round-1-3", "73.0")):
        assert f"{name} on held-out rankings" in page
        assert f"right about {share} % (66.0–75.9) of 1,234 held-out pairs" in page
    assert "<b>rm-round-1</b></a>, " in page
    assert "</a> and <a" in page
    assert page.count('class="dot"') == 6
    assert "Not worth optimising yet" not in page


def test_the_models_page_the_form_and_the_overview_warn(admin: Person, sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.reward_model, name="rm-round-1")
        base = session.query(Model).one()
        _finish(session, run, [_trained(base, "models/weak", GOOD | {"valid_accuracy": 0.55})])
        model_id = session.query(Model.id).filter(Model.run_id == run.id).scalar()
    browser = sign_in(admin)
    assert "Not worth optimising yet." in browser.get(f"/p/{project.slug}/models/{model_id}").text
    assert "reward, 4.7 M parameters, too weak to optimise)" in browser.get(f"/p/{project.slug}/runs/new/ppo").text
    assert "validation accuracy 55.0 %, too weak to optimise" in browser.get(f"/p/{project.slug}").text


def test_a_cross_validations_page_has_its_table(admin: Person, sign_in: SignIn, project: Project) -> None:
    rows = [
        {"fold": fold, "seed": seed, "held_out_labelers_accuracy": 0.6 + fold / 100, "held_out_labelers_pairs": 30.0,
         "training_labelers_accuracy": 0.7}
        for seed in (1, 2) for fold in (1, 2, 3)
    ]  # fmt: skip
    rows = [row | {"training_labelers_pairs": 1200.0} for row in rows[:-1]]
    result = {
        "held_out_labelers_accuracy": 0.62, "held_out_labelers_error": 0.004, "training_labelers_accuracy": 0.7,
        "training_labelers_error": 0.0, "trainings_table": rows,
        "groups": [{"fold": fold, "labelers": 1} for fold in (1, 2, 3)],
    }  # fmt: skip
    with writing() as session:
        run = make_run(session, project, kind=RunKind.cross_validation, name="cv")
        claimed = service.claim(session, run.id, worker="box")
        service.finish(session, run.id, claim=str(claimed.claimed_by), result=result)
    page = sign_in(admin).get(f"/p/{project.slug}/runs/{run.id}").text
    for shown in ("62.0 ± 0.4 %", "69.6 ± 0.9 %", "72.4 ± 0.4 %", "70.0 % of 1,200", "61.0 % of 30",
                  "There were 3 labelers, so each was a group of their own: 3 groups in place of 5."):  # fmt: skip
        assert shown in page
    assert page.count("70.0 % of 1,200") == 5


def test_a_run_that_is_asked_twice_registers_each_member_once(project: Project) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.reward_model)
        base = session.query(Model).one()
        made = [_trained(base, f"models/{run.id}-{n}", {}) for n in (1, 2)]
        _finish(session, run, made)
        for trained in made:
            service.registry.register_trained(session, project.id, name="again", run_id=run.id, trained=trained)
        assert session.query(Model).filter(Model.run_id == run.id).count() == 2
