"""New runs: what is frozen, what is offered, and what is refused before it starts."""

from typing import Any

import pytest
from sqlalchemy import func, select

from app.accounts.models import Group, Person
from app.core.clock import now
from app.core.db import reading, reading_one_state, writing
from app.core.errors import Invalid
from app.datasets import service as datasets
from app.datasets.models import Snapshot, SnapshotKind
from app.labeling import service as labeling
from app.labeling.models import Assignment, AssignmentState, Item, ItemCompletion, Ranking, RankingPlace
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.models import PlainText, Split
from app.registry.models import Model, ModelKind, ModelState
from app.runs import creation, history, inputs, offers
from app.runs.configs import RunKind, SftConfig
from app.runs.models import Run, RunState
from app.runs.ppo_config import PpoConfig
from app.runs.schemas import RunPlan, SamplingPlan
from tests.factories import make_completion, make_model, make_person, make_project, make_prompt


@pytest.fixture
def base(project: Project) -> Model:
    with writing() as session:
        model = make_model(session, project, name="starter")
        model.parameters, model.context = 4_700_000, 512
    return model


def _ask(
    project: Project,
    kind: RunKind,
    admin: Person,
    *,
    name: str = "",
    parts: dict[str, str] | None = None,
    **changes: Any,
) -> Run:
    with reading_one_state() as session:
        model = creation.subject_model(session, kind, parts or {})
        config = creation.default_config(kind, model).model_dump() | changes
        plan = RunPlan(name=name, parts=parts or {}, config=config)
        prepared = creation.prepare_run(session, project, kind, plan)
    with writing() as session:
        return creation.create_run(session, project, prepared, by=admin)


def _demonstrate(project: Project, admin: Person, *, count: int = 3, split: Split = Split.train) -> None:
    with writing() as session:
        for _ in range(count):
            labeling.record_demonstration(session, make_prompt(session, project, split=split), admin, "Once. The end.")


def _rank(
    project: Project, *, count: int, tie: bool = False, group: Group = Group.training, split: Split = Split.train
) -> None:
    """`count` rankings by a labeler of their own."""
    with writing() as session:
        labeler = make_person(session, project=project, group=group)
        prompts = [make_prompt(session, project, split=split) for _ in range(count)]
        shown = {prompt.id: [make_completion(session, prompt) for _ in range(4)] for prompt in prompts}
        batch = labeling.create_ranking_batch(session, project, completions_by_prompt=shown)
        for item in session.scalars(select(Item).where(Item.batch_id == batch.id)):
            assignment = Assignment(item_id=item.id, person_id=labeler.id, lease_until=now(),
                                    state=AssignmentState.submitted, group=labeler.group)  # fmt: skip
            session.add(assignment)
            session.flush()
            ranking = Ranking(assignment_id=assignment.id, item_id=item.id, person_id=labeler.id)
            session.add(ranking)
            session.flush()
            for place in session.scalars(select(ItemCompletion).where(ItemCompletion.item_id == item.id)):
                rank = 1 if tie else place.position + 1
                session.add(RankingPlace(ranking_id=ranking.id, completion_id=place.completion_id, rank=rank))


def _count(table: type[Any]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_run_freezes_what_it_reads(project: Project, admin: Person, base: Model) -> None:
    _demonstrate(project, admin)
    run = _ask(project, RunKind.sft, admin, parts={"base": str(base.id)})
    assert (run.state, run.name, run.seed) == (RunState.queued, "sft-round-1", 1)
    assert run.code_version
    _demonstrate(project, admin)
    with reading() as session:
        read = {each.part: each for each in history.inputs_of(session, run)}
    assert read["base"].model is not None
    assert read["base"].model.id == base.id
    assert read["demonstrations"].snapshot is not None
    assert len(datasets.read_examples(read["demonstrations"].snapshot)) == 3


def test_the_same_name_gets_a_number(project: Project, admin: Person, base: Model) -> None:
    _demonstrate(project, admin)
    parts = {"base": str(base.id)}
    names = [_ask(project, RunKind.sft, admin, parts=parts).name for _ in range(3)]
    assert names == ["sft-round-1", "sft-round-1-2", "sft-round-1-3"]
    assert _ask(project, RunKind.sft, admin, parts=parts, name="starter").name == "starter-2"


def test_sft_with_plain_text_is_called_what_ppo_starts_from() -> None:
    assert creation.default_name(RunKind.sft, SftConfig(), 2) == "sft-round-2"
    assert creation.default_name(RunKind.sft, SftConfig(pretraining_mix=0.1), 2) == "initial-policy-round-2"


def test_ppo_without_plain_text_is_called_ppo(project: Project, admin: Person, base: Model) -> None:
    with writing() as session:
        reward = make_model(session, project, kind=ModelKind.reward)
        make_prompt(session, project)
        session.add(
            PlainText(project_id=project.id, source="test", text="It rained.", split=Split.train, content_hash="1")
        )
    parts = {"policy": str(base.id), "reward_model": str(reward.id)}
    assert _ask(project, RunKind.ppo, admin, parts=parts, ptx_coefficient=0.0).name == "ppo-round-1"
    assert _ask(project, RunKind.ppo, admin, parts=parts, ptx_coefficient=1.0).name == "ppo-ptx-round-1"


@pytest.mark.parametrize("split", [None, Split.valid, Split.test])
def test_sft_without_training_demonstrations_is_refused(
    project: Project, admin: Person, base: Model, split: Split | None
) -> None:
    if split:
        _demonstrate(project, admin, split=split)
    with pytest.raises(Invalid, match="no demonstrations in the training split"):
        _ask(project, RunKind.sft, admin, parts={"base": str(base.id)})
    assert _count(Run) == _count(Snapshot) == 0


@pytest.mark.parametrize(("count", "tie", "found"), [(0, False, "are 0"), (1, False, "is 1"), (3, True, "are 0")])
def test_learning_from_rankings_without_any_is_refused(
    project: Project, admin: Person, base: Model, count: int, tie: bool, found: str
) -> None:
    if count:
        _rank(project, count=count, tie=tie)
    for kind in (RunKind.reward_model, RunKind.dpo):
        with pytest.raises(Invalid, match=f"at least 2 training rankings .* there {found}"):
            _ask(project, kind, admin, parts={"base": str(base.id)})


@pytest.mark.parametrize(
    ("by_each", "valid", "reason"),
    [
        ([], 0, "needs rankings by at least 2; there are none"),
        ([5], 1, "by at least 2; there are none|Without the labeler who ranked most there are no training rankings"),
        ([5, 1], 1, "Without the labeler who ranked most there are 1 training rankings"),
        ([5, 5], 0, "no rankings of validation prompts"),
    ],
)
def test_a_cross_validation_of_too_few_labelers_or_rankings_is_refused(
    project: Project, admin: Person, base: Model, by_each: list[int], valid: int, reason: str
) -> None:
    for count in by_each:
        _rank(project, count=count)
    if valid:
        _rank(project, count=valid, split=Split.valid)
    with pytest.raises(Invalid, match=reason):
        _ask(project, RunKind.cross_validation, admin, parts={"base": str(base.id)})
    assert _count(Run) == 0


def test_a_cross_validation_needs_two_labelers(project: Project, admin: Person, base: Model) -> None:
    _rank(project, count=5)
    with pytest.raises(Invalid, match="so it needs rankings by at least 2; there is 1"):
        _ask(project, RunKind.cross_validation, admin, parts={"base": str(base.id)})
    _rank(project, count=5)
    _rank(project, count=1, split=Split.valid)
    run = _ask(project, RunKind.cross_validation, admin, parts={"base": str(base.id)})
    assert (run.name, run.config["folds"], run.config["seeds"]) == ("cross-validation-round-1", 5, 3)


def test_held_out_labelers_rankings_train_nothing(project: Project, admin: Person, base: Model) -> None:
    _rank(project, count=3, group=Group.held_out)
    with pytest.raises(Invalid, match="there are 0"):
        _ask(project, RunKind.reward_model, admin, parts={"base": str(base.id)})


def test_a_reward_model_with_two_rankings_may_try(project: Project, admin: Person, base: Model) -> None:
    _rank(project, count=2)
    assert _ask(project, RunKind.reward_model, admin, parts={"base": str(base.id)}).name == "rm-round-1"


def test_ppo_ptx_without_plain_text_is_refused(project: Project, admin: Person, base: Model) -> None:
    with writing() as session:
        reward = make_model(session, project, kind=ModelKind.reward)
        make_prompt(session, project)
    parts = {"policy": str(base.id), "reward_model": str(reward.id)}
    with pytest.raises(Invalid, match="no plain text") as refused:
        _ask(project, RunKind.ppo, admin, parts=parts, ptx_coefficient=1.0)
    assert "plain PPO" in refused.value.mend
    with reading() as session:
        offered = offers.offered_presets(session, project, RunKind.ppo, base)[0]
    assert isinstance(offered.config, PpoConfig)
    assert offered.config.ptx_coefficient == 0
    assert "no plain text" in offered.origin("ptx_coefficient")


def test_ppo_without_prompts_or_reward_model_is_refused(project: Project, admin: Person, base: Model) -> None:
    with pytest.raises(Invalid, match="Choose a model") as refused:
        _ask(project, RunKind.ppo, admin, parts={"policy": str(base.id)}, ptx_coefficient=0.0)
    assert "reward_model" in refused.value.fields
    with writing() as session:
        reward = make_model(session, project, kind=ModelKind.reward)
    parts = {"policy": str(base.id), "reward_model": str(reward.id)}
    with pytest.raises(Invalid, match="no prompts in the training split"):
        _ask(project, RunKind.ppo, admin, parts=parts, ptx_coefficient=0.0)


def test_a_model_of_the_wrong_kind_state_or_project_is_refused(project: Project, admin: Person, base: Model) -> None:
    _demonstrate(project, admin)
    with writing() as session:
        reward = make_model(session, project, kind=ModelKind.reward)
        adding = make_model(session, project)
        adding.state = ModelState.adding
        foreign = make_model(session, make_project(session))
    for model, words in ((reward, "is a reward model"), (adding, "adding"), (foreign, "no such model")):
        with pytest.raises(Invalid, match=words):
            _ask(project, RunKind.sft, admin, parts={"base": str(model.id)})
    with pytest.raises(Invalid, match="no such model"):
        _ask(project, RunKind.sft, admin, parts={"base": "nonsense"})


def test_a_context_too_short_is_refused(project: Project, admin: Person, base: Model) -> None:
    _demonstrate(project, admin)
    with pytest.raises(Invalid, match="600 together, and starter reads at most 512"):
        _ask(
            project, RunKind.sft, admin, parts={"base": str(base.id)}, max_prompt_tokens=300, max_completion_tokens=300
        )


def test_wrong_settings_are_named_each_with_what_it_takes(project: Project, admin: Person, base: Model) -> None:
    with pytest.raises(Invalid) as refused:
        _ask(project, RunKind.sft, admin, parts={"base": str(base.id)}, epochs="many", learning_rate="-1", seed="")
    assert refused.value.fields == {
        "epochs": "Write a whole number.",
        "learning_rate": "More than 0.",
        "seed": "Write a value.",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"completions_per_prompt": 1}, "1 completions would stand"),
        ({"group": "held_out"}, "only evaluates"),
    ],
)
def test_sampling_that_no_labeler_could_rank_is_refused(
    project: Project, admin: Person, base: Model, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        _ask(project, RunKind.sampling, admin, parts={"model": str(base.id)}, **changes)


def test_the_same_model_twice_is_refused(project: Project, admin: Person, base: Model) -> None:
    with pytest.raises(Invalid, match="chosen twice"):
        _ask(project, RunKind.sampling, admin, parts={"model": str(base.id), "model_2": str(base.id)})


def test_the_best_of_several_needs_a_reward_model(project: Project, admin: Person, base: Model) -> None:
    with pytest.raises(Invalid, match="chosen by a reward model, and none is") as refused:
        _ask(project, RunKind.sampling, admin, parts={"model": str(base.id)}, best_of=4)
    assert {"reward_model", "best_of"} == set(refused.value.fields)


def test_a_model_may_stand_beside_the_best_of_its_own(project: Project, admin: Person, base: Model) -> None:
    with writing() as session:
        reward = make_model(session, project, kind=ModelKind.reward)
        for _ in range(3):
            make_prompt(session, project)
    parts = {"model": str(base.id), "model_2": str(base.id), "reward_model": str(reward.id)}
    chosen = {"best_of": 4, "completions_per_prompt": 2}
    for changes in ({}, {"best_of_models": "first", "best_of": 1}):
        with pytest.raises(Invalid, match="chosen twice"):
            _ask(project, RunKind.sampling, admin, parts=parts, **(chosen | changes))
    with pytest.raises(Invalid, match="chosen twice"):
        thrice = parts | {"model_3": str(base.id)}
        _ask(project, RunKind.sampling, admin, parts=thrice, **chosen, best_of_models="first")
    run = _ask(project, RunKind.sampling, admin, parts=parts, **chosen, best_of_models="first")
    assert run.config["best_of"] == 4


def test_prompts_to_rank_are_of_no_batch_of_this_round_and_never_of_the_test_split(
    project: Project, admin: Person, base: Model
) -> None:
    _rank(project, count=2)
    with writing() as session:
        fresh = {
            str(make_prompt(session, project, split=split).id) for split in (Split.train, Split.train, Split.valid)
        }
        make_prompt(session, project, split=Split.test)
        turn = projects.current_round(session, project)
        assert set(inputs.prompts_to_sample(session, project, SamplingPlan(), turn=turn)) == fresh
        projects.start_next_round(session, project, by=admin)
        following = projects.current_round(session, project)
        assert len(inputs.prompts_to_sample(session, project, SamplingPlan(), turn=following)) == 5
        few = inputs.prompts_to_sample(session, project, SamplingPlan(prompts=2), turn=following)
        assert few == inputs.prompts_to_sample(session, project, SamplingPlan(prompts=2), turn=following)
        assert len(few) == 2


def test_prompts_to_evaluate_are_held_out_test_before_valid(project: Project, admin: Person) -> None:
    with writing() as session:
        make_prompt(session, project)
        valid, test = make_prompt(session, project, split=Split.valid), make_prompt(session, project, split=Split.test)
        turn = projects.current_round(session, project)
        plan = SamplingPlan(batch_kind="evaluation", prompts=2)
        assert inputs.prompts_to_sample(session, project, plan, turn=turn) == [str(test.id), str(valid.id)]


def test_no_prompt_left_is_said(project: Project, admin: Person, base: Model) -> None:
    with pytest.raises(Invalid, match="No training or validation prompt is left to sample for in round 1"):
        _ask(project, RunKind.sampling, admin, parts={"model": str(base.id)})


def test_an_existing_snapshot_can_be_read_again(project: Project, admin: Person, base: Model) -> None:
    _demonstrate(project, admin)
    with writing() as session:
        frozen = datasets.keep(session, datasets.freeze(session, project, SnapshotKind.demonstrations, {}), admin)
    _demonstrate(project, admin)
    run = _ask(project, RunKind.sft, admin, parts={"base": str(base.id), "demonstrations": str(frozen.id)})
    with reading() as session:
        assert history.inputs_of(session, run)[1].snapshot.id == frozen.id
    with pytest.raises(Invalid, match="no such snapshot"):
        _ask(project, RunKind.sft, admin, parts={"base": str(base.id), "demonstrations": str(base.id)})


def test_a_clone_asks_for_the_same(project: Project, admin: Person, base: Model) -> None:
    _demonstrate(project, admin)
    run = _ask(project, RunKind.sft, admin, parts={"base": str(base.id)}, epochs=7, learning_rate=0.00012345)
    with reading_one_state() as session:
        prepared = creation.prepare_run(session, project, RunKind.sft, creation.plan_of(session, run))
    with writing() as session:
        again = creation.create_run(session, project, prepared, by=admin)
    assert again.config == run.config
    assert again.id != run.id


def _ppo_parts(project: Project, admin: Person, **further: str) -> dict[str, str]:
    """A policy, prompts and reward models a, b and c; `further` names the other parts' reward models."""
    with writing() as session:
        make_prompt(session, project)
        policy = make_model(session, project, name="sft", kind=ModelKind.sft)
        judges = {name: str(make_model(session, project, name=name, kind=ModelKind.reward).id) for name in "abc"}
    parts = {"policy": str(policy.id), "reward_model": judges["a"], "prompts": "new"}
    return parts | {part: judges[name] for part, name in further.items()}


def test_a_policy_may_be_optimised_for_several_reward_models(project: Project, admin: Person) -> None:
    parts = _ppo_parts(project, admin, reward_model_2="b", watch="c")
    run = _ask(project, RunKind.ppo, admin, parts=parts, ptx_coefficient=0, ensemble="min")
    with reading() as session:
        found = {each.part: each.model.name for each in history.inputs_of(session, run) if each.model}
    assert found == {"policy": "sft", "reward_model": "a", "reward_model_2": "b", "watch": "c"}
    assert run.config["ensemble"] == "min"


@pytest.mark.parametrize(
    ("further", "part", "says"),
    [
        ({"reward_model_3": "a"}, "reward_model_3", "a is chosen twice"),
        ({"reward_model_2": "b", "watch": "b"}, "watch", "b is trained on, so it can't watch"),
    ],
)
def test_one_reward_model_has_one_part(
    project: Project, admin: Person, further: dict[str, str], part: str, says: str
) -> None:
    parts = _ppo_parts(project, admin, **further)
    with pytest.raises(Invalid, match=says) as refused:
        _ask(project, RunKind.ppo, admin, parts=parts, ptx_coefficient=0)
    assert list(refused.value.fields) == [part]
