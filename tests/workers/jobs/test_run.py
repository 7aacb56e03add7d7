"""Runs on a real worker's code, in this process: every kind from its row to what it makes."""

import json
import os
import shutil
import signal
import uuid
from pathlib import Path
from unittest.mock import ANY

import pytest
from safetensors import SafetensorError
from sqlalchemy import func, select

from app.benchmarks.models import BenchmarkFile
from app.core.clock import now
from app.core.db import reading, writing
from app.core.errors import Invalid
from app.core.storage import StoreRefuses, get_artefacts
from app.explorer.completions import described
from app.labeling.choices import ALL, Author, completions_side_by_side, writers
from app.labeling.models import (
    Assignment,
    AssignmentState,
    Batch,
    BatchKind,
    Completion,
    Item,
    ItemCompletion,
    Ranking,
    RankingPlace,
)
from app.prefixes.service import PrefixCreate, write_prefix
from app.prompts.models import Prompt
from app.registry.models import Model, ModelKind, ModelState
from app.runs import service
from app.runs.configs import RunKind
from app.runs.creation import plan_of
from app.runs.models import Run, RunLogLine, RunMetric, RunSample, RunState
from tests.factories import make_person
from tests.workers.jobs.conftest import World
from workers.jobs.pulse import Pulse
from workers.jobs.run import in_words, work_on
from workers.training.models import load_policy, load_reward_model

pytestmark = pytest.mark.train


def _work(run: Run, pulse: Pulse | None = None) -> Run:
    work_on(run.id, pulse or Pulse())
    return _read(run.id)


def _read(run_id: uuid.UUID) -> Run:
    with reading() as session:
        return session.get_one(Run, run_id)


def _made_by(run: Run) -> Model:
    with reading() as session:
        return session.scalars(select(Model).where(Model.run_id == run.id)).one()


def _rank_everything(world: World, run: Run, *, labelers: int = 1) -> None:
    """Labelers, item by item in turn, order the run's batch, the completions as they come."""
    with writing() as session:
        people = [make_person(session, project=world.project) for _ in range(labelers)]
        batch = session.scalars(select(Batch).where(Batch.run_id == run.id)).one()
        for number, item in enumerate(session.scalars(select(Item).where(Item.batch_id == batch.id))):
            labeler = people[number % labelers]
            assignment = Assignment(item_id=item.id, person_id=labeler.id, lease_until=now(),
                                    state=AssignmentState.submitted, group=labeler.group)  # fmt: skip
            session.add(assignment)
            session.flush()
            ranking = Ranking(assignment_id=assignment.id, item_id=item.id, person_id=labeler.id)
            session.add(ranking)
            session.flush()
            places = session.scalars(select(ItemCompletion).where(ItemCompletion.item_id == item.id))
            for place in places:
                session.add(
                    RankingPlace(ranking_id=ranking.id, completion_id=place.completion_id, rank=place.position + 1)
                )


def test_demonstrations_become_an_sft_model(world: World) -> None:
    run = _work(world.ask_for(RunKind.sft))
    assert run.error is None
    assert run.state == RunState.succeeded
    assert run.step == run.total_steps == 12
    model = _made_by(run)
    assert (model.name, model.kind, model.parent_id) == ("sft-round-1", ModelKind.sft, world.base.id)
    assert model.state == ModelState.ready
    assert model.storage_key == f"models/{run.id}"
    load_policy(get_artefacts().folder(model.storage_key))
    with reading() as session:
        rows = session.scalars(select(RunMetric).where(RunMetric.run_id == run.id).order_by(RunMetric.step)).all()
    assert [row.step for row in rows] == list(range(1, 13))
    assert rows[-1].values["loss"] < rows[0].values["loss"]
    assert not any(get_artefacts().working_folder(f"checkpoints/{run.id}").iterdir())


@pytest.mark.prove  # tests/browser goes the whole way with real workers
def test_the_whole_loop_from_demonstrations_to_a_policys_completions(world: World) -> None:
    sft = _made_by(_work(world.ask_for(RunKind.sft)))
    sampled = _work(world.ask_for(RunKind.sampling, parts={"model": str(sft.id)}))
    _rank_everything(world, sampled)
    reward = _made_by(_work(world.ask_for(RunKind.reward_model, parts={"base": str(sft.id)})))
    assert reward.kind == ModelKind.reward
    load_reward_model(get_artefacts().folder(str(reward.storage_key)))
    other = _work(
        world.ask_for(RunKind.reward_model, parts={"base": str(sft.id)}, seed=2, lora_rank=2, merge_lora=False)
    )
    parts = {"policy": str(sft.id), "reward_model": str(reward.id), "reward_model_2": str(_made_by(other).id)}
    ppo = _work(world.ask_for(RunKind.ppo, parts=parts, ensemble="min"))
    assert ppo.error is None
    assert ppo.result["reward_spread"] > 0, "two reward models scored"
    policy = _made_by(ppo)
    assert (policy.name, policy.kind, policy.parent_id) == ("ppo-round-1", ModelKind.policy, sft.id)
    rloo = _work(world.ask_for(RunKind.rloo, parts=parts))
    assert rloo.error is None
    assert (_made_by(rloo).name, _made_by(rloo).kind) == ("rloo-round-1", ModelKind.policy)
    fresh = _work(world.ask_for(RunKind.sampling, parts={"model": str(policy.id)}))
    assert fresh.state == RunState.succeeded
    with reading() as session:
        ranked_twice = session.scalar(
            select(func.count()).select_from(Item).group_by(Item.prompt_id).having(func.count() > 1)
        )
    assert ranked_twice is None, "prompts ranked in this round are not sampled again"


def test_rankings_become_a_policy_without_a_reward_model(world: World) -> None:
    _rank_everything(world, _work(world.ask_for(RunKind.sampling)))
    run = _work(world.ask_for(RunKind.dpo))
    assert run.error is None
    policy = _made_by(run)
    assert (policy.name, policy.kind, policy.parent_id) == ("dpo-round-1", ModelKind.policy, world.base.id)
    load_policy(get_artefacts().folder(str(policy.storage_key)))
    with reading() as session:
        samples = session.scalars(select(RunSample).where(RunSample.run_id == run.id)).all()
        rows = session.scalars(select(RunMetric).where(RunMetric.run_id == run.id).order_by(RunMetric.step)).all()
    assert {row.step for row in samples} == {2, run.total_steps} | set(range(2, run.total_steps or 0, 2))
    assert rows[-1].values["loss"] < rows[0].values["loss"]


def _ranked(world: World, *, labelers: int) -> None:
    """Everything there is to rank is ranked: completions of 12 training and 2 validation prompts."""
    _rank_everything(world, _work(world.ask_for(RunKind.sampling, prompts=14)), labelers=labelers)


def test_an_ensemble_registers_each_member_with_its_own_figures(world: World) -> None:
    _ranked(world, labelers=1)
    run = _work(world.ask_for(RunKind.reward_model, members=3))
    assert run.error is None
    with reading() as session:
        made = session.scalars(select(Model).where(Model.run_id == run.id).order_by(Model.name)).all()
    assert [model.name for model in made] == ["rm-round-1", "rm-round-1-2", "rm-round-1-3"]
    assert [model.storage_key for model in made] == [f"models/{run.id}-{number}" for number in (1, 2, 3)]
    folders = [get_artefacts().folder(str(model.storage_key)) for model in made]
    biases = [load_reward_model(folder).bias for folder in folders]
    assert [model.metrics["bias"] for model in made] == biases
    assert len(set(biases)) == 3
    assert all(model.metrics["calibration"] for model in made)
    assert run.result["members"] == 3
    assert run.step == run.total_steps


def test_a_cross_validation_leaves_its_table_and_no_model(world: World) -> None:
    _ranked(world, labelers=3)
    run = _work(world.ask_for(RunKind.cross_validation))
    assert run.error is None
    assert run.state == RunState.succeeded
    assert len(run.result["trainings_table"]) == 3 * 2
    assert 0 <= run.result["held_out_labelers_accuracy"] <= 1
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Model)) == 1, "the base alone"
    assert not any(get_artefacts().working_folder(f"checkpoints/{run.id}").iterdir())


@pytest.mark.prove  # test_killed asks the same of the trainer
def test_a_cross_validation_handed_on_ends_with_the_same_table(world: World) -> None:
    _ranked(world, labelers=3)
    whole, torn = world.ask_for(RunKind.cross_validation), world.ask_for(RunKind.cross_validation)
    expected = _work(whole).result
    given_back = _work(torn, StopsAt(torn.id, ask=False))
    assert (given_back.state, given_back.checkpoint_step) == (RunState.queued, 3)
    assert _work(torn).state == RunState.succeeded
    assert _read(torn.id).result == expected


def _add_reward_bench(world: World) -> None:
    rows = [{"prompt": "Write.", "chosen": "Once.", "rejected": "No.", "subset": name} for name in ("chat", "safety")]
    with get_artefacts().writing("benchmarks/pairs.jsonl") as file:
        file.write("\n".join(map(json.dumps, rows)).encode())
    with writing() as session:
        session.add(BenchmarkFile(project_id=world.project.id, benchmark="reward_bench", name="pairs.jsonl", rows=2,
                                  sha256="0" * 64, storage_key="benchmarks/pairs.jsonl"))  # fmt: skip


def test_a_reward_model_is_set_beside_people_and_leaves_a_report(world: World) -> None:
    """On validation prompts it never learned from, by group, and with a stop on the way."""
    _ranked(world, labelers=2)
    reward = _made_by(_work(world.ask_for(RunKind.reward_model)))
    parts = {"reward_model": str(reward.id)}
    with pytest.raises(Invalid, match="There is no RewardBench file"):
        world.ask_for(RunKind.reward_evaluation, parts=parts, reward_bench=True)
    _add_reward_bench(world)
    whole, torn = (world.ask_for(RunKind.reward_evaluation, parts=parts, reward_bench=True) for _ in range(2))
    run = _work(whole)
    assert run.error is None
    assert run.state == RunState.succeeded
    found = {(row["by"], row["name"]): row for row in run.result["agreement"]}
    unseen, seen = found["all", "unseen"], found["seen", "training prompts"]
    assert found["group", "training"]["pairs"] == unseen["pairs"]
    assert (unseen["prompts"], seen["prompts"]) == (2, 12)
    assert [row["model"] for row in run.result["rewards"]] == ["tiny"]
    assert run.result["calibration"]
    assert [(row["subset"], row["n"]) for row in run.result["reward_bench"]] == [("", 2), ("chat", 1), ("safety", 1)]
    assert (run.result["left_out"], run.result["cut"]) == (0, 0)
    given_back = _work(torn, StopsAt(torn.id, ask=False))
    assert (given_back.state, given_back.checkpoint_step) == (RunState.queued, 3)
    assert _work(torn).result == run.result


def test_a_sampling_run_makes_one_batch_of_k_completions(world: World) -> None:
    run = world.ask_for(RunKind.sampling)
    assert _work(run).state == RunState.succeeded
    with reading() as session:
        batch = session.scalars(select(Batch).where(Batch.run_id == run.id)).one()
        items = session.scalars(select(Item).where(Item.batch_id == batch.id)).all()
        counts = session.execute(select(ItemCompletion.item_id, func.count()).group_by(ItemCompletion.item_id)).all()
        texts = session.scalars(select(Completion).where(Completion.run_id == run.id)).all()
    assert batch.kind == BatchKind.ranking
    assert len(items) == 6
    assert [count for _, count in counts] == [4] * 6
    assert {text.model_id for text in texts} == {world.base.id}
    assert all(text.settings["temperature"] == 1.0 for text in texts)


def test_several_models_stand_in_one_evaluation_of_held_out_prompts(world: World) -> None:
    sft = _made_by(_work(world.ask_for(RunKind.sft)))
    run = world.ask_for(RunKind.sampling, parts={"model_2": str(sft.id)}, completions_per_prompt=1,
                        batch_kind="evaluation", group="everyone")  # fmt: skip
    assert _work(run).state == RunState.succeeded
    with reading() as session:
        batch = session.scalars(select(Batch).where(Batch.run_id == run.id)).one()
        models = session.scalars(select(Completion.model_id).where(Completion.run_id == run.id)).all()
    assert (batch.kind, batch.name) == (BatchKind.evaluation, "evaluation-round-1")
    assert sorted(map(str, models)) == sorted([str(world.base.id), str(sft.id)] * 2)


def test_the_best_of_several_stand_beside_the_models_own(world: World) -> None:
    _rank_everything(world, _work(world.ask_for(RunKind.sampling)))
    reward = _made_by(_work(world.ask_for(RunKind.reward_model)))
    parts = {"model_2": str(world.base.id), "reward_model": str(reward.id)}
    run = _work(world.ask_for(RunKind.sampling, parts=parts, completions_per_prompt=2, best_of=3,
                              best_of_models="first", batch_kind="evaluation", group="everyone"))  # fmt: skip
    assert run.error is None
    with reading() as session:
        rows = session.scalars(select(Completion).where(Completion.run_id == run.id)).all()
    assert sorted((row.settings["best_of"], row.number) for row in rows) == sorted(2 * [(3, 0), (3, 1), (1, 2), (1, 3)])
    first, second = run.result["best_of"]
    assert [n for n, _, _ in first["points"]] == [1, 2, 4, 6]
    assert [n for n, _, _ in second["points"]] == [1, 2]
    assert (first["model"], first["kept_of"], second["kept_of"]) == ("tiny", 3, 1)
    assert {row.settings["seed"] for row in rows if row.settings["best_of"] == 1} == {run.seed + 1}


def test_a_model_with_a_prefix_stands_beside_itself(world: World) -> None:
    with writing() as session:
        asked = PrefixCreate(name="kind", text="Be kind.", frame="{prompt} Go:", separator="never written")
        prefix = write_prefix(session, world.project, asked, by=world.admin)
    parts = {"prefix": str(prefix.id), "model_2": str(world.base.id)}
    run = _work(world.ask_for(RunKind.sampling, parts=parts, completions_per_prompt=1, batch_kind="evaluation",
                              group="everyone"))  # fmt: skip
    assert run.error is None
    with reading() as session:
        rows = session.scalars(select(Completion).where(Completion.run_id == run.id)).all()
        names = [each.name for each in writers(session, world.project)]
        authors = [Author(world.base.id, "kind"), Author(world.base.id)]
        found = completions_side_by_side(session, world.project, authors, ALL, limit=None)
        plan = plan_of(session, run)
        story = described(session, [(row, session.get_one(Prompt, row.prompt_id)) for row in rows])
    assert {row.settings.get("prefix") for row in rows} == {"kind", None}
    assert names == ["tiny", "tiny, prompted (kind)"]
    assert {len(each) for each in found.values()} == {2}
    assert {each.by for each in story} == set(names)
    assert plan.parts == {"model": str(world.base.id), **parts, "prompts": ANY}
    with pytest.raises(Invalid, match="no model to stand before"):
        world.ask_for(RunKind.sampling, parts={"prefix_2": str(prefix.id)})


def test_a_second_delivery_does_nothing(world: World) -> None:
    run = _work(world.ask_for(RunKind.sft))
    again = _work(run)
    assert again.finished_at == run.finished_at
    assert _made_by(run).run_id == run.id


class StopsAt(Pulse):
    """A worker that is told to shut down, or whose admin asks to stop, when a step is reported."""

    def __init__(self, run_id: uuid.UUID, *, ask: bool) -> None:
        super().__init__()
        self._run_id, self._ask, self._looks = run_id, ask, 0

    @property
    def is_shutting_down(self) -> bool:
        self._looks += 1
        return not self._ask and self._looks >= 3

    @is_shutting_down.setter
    def is_shutting_down(self, value: bool) -> None:
        assert not value


def _bytes(run: Run) -> bytes:
    return (get_artefacts().folder(f"models/{run.id}") / "model.safetensors").read_bytes()


def test_a_worker_that_shuts_down_hands_its_run_on_to_the_same_result(world: World) -> None:
    whole, torn = world.ask_for(RunKind.sft), world.ask_for(RunKind.sft)
    _work(whole)
    given_back = _work(torn, StopsAt(torn.id, ask=False))
    assert (given_back.state, given_back.checkpoint_step) == (RunState.queued, 3)
    assert _work(torn).state == RunState.succeeded
    assert _bytes(torn) == _bytes(whole)


def test_a_stopped_run_keeps_its_checkpoint_and_continues(world: World) -> None:
    whole, stopped = world.ask_for(RunKind.sft), world.ask_for(RunKind.sft)
    _work(whole)
    with writing() as session:
        claimed = service.claim(session, stopped.id, worker="test")
        assert claimed is not None
        service.ask_to_stop(session, claimed, by=world.admin)
        service.requeue(session, claimed, "the worker died before it could stop")
    after = _work(stopped)
    assert (after.state, after.checkpoint_step) == (RunState.cancelled, 1)
    with writing() as session:
        service.resume(session, after, by=world.admin)
    assert _work(stopped).state == RunState.succeeded
    assert _bytes(stopped) == _bytes(whole)


def test_a_run_killed_between_its_model_and_its_row_makes_one_model(world: World) -> None:
    run = world.ask_for(RunKind.sft)
    child = os.fork()
    if child == 0:
        service.finish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        work_on(run.id, Pulse())
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert get_artefacts().exists(f"models/{run.id}")
    stored = _bytes(run)
    with writing() as session:
        service.end_abandoned(session, session.get_one(Run, run.id))
    assert _work(run).state == RunState.succeeded
    assert _made_by(run).storage_key == f"models/{run.id}"
    assert _bytes(run) == stored


def test_a_run_that_cannot_train_fails_in_words(world: World) -> None:
    run = _work(world.ask_for(RunKind.sft, max_prompt_tokens=2))
    assert run.state == RunState.failed
    assert run.error is not None
    assert "max_prompt_tokens" in run.error
    assert "Continue" in run.error
    with reading() as session:
        lines = session.scalars(
            select(RunLogLine).where(RunLogLine.run_id == run.id, RunLogLine.level == "error")
        ).all()
    assert [line.text for line in lines] == [run.error]


def test_a_model_whose_folder_is_gone_fails_in_words(world: World) -> None:
    run = world.ask_for(RunKind.sft)
    get_artefacts().remove(f"models/{world.base.id}")
    assert "Restore it from a backup." in str(_work(run).error)


def test_a_model_too_large_for_this_machine_is_refused_before_it_is_loaded(world: World) -> None:
    with writing() as session:
        session.get_one(Model, world.base.id).parameters = 10**15
    run = _work(world.ask_for(RunKind.sft))
    assert run.state == RunState.failed
    assert run.error is not None
    assert "GiB" in run.error
    assert "lora_rank" in run.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory ran out"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "micro_batch_size"),
        (OSError(28, "No space left on device"), "disk is full"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]), "disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "disk is full"),
        (SafetensorError("I/O error: Read-only file system (os error 30)"), "could not be used (I/O error: Read-only"),
        (OSError(20, "Not a directory"), "Once it can be again, continue."),
        (StoreRefuses("Writing models/1 failed: it is full.", mend="Free space."), "it is full. Free space."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_what_broke_is_said_in_words(error: Exception, words: str) -> None:
    assert words in in_words(error)


def test_folders_of_models_are_ordinary(world: World, tmp_path: Path) -> None:
    model = _made_by(_work(world.ask_for(RunKind.sft)))
    names = {file.name for file in get_artefacts().folder(str(model.storage_key)).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
