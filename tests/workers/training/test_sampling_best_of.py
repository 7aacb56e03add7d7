"""Best-of-n sampling: what is kept is the best of what was drawn, and nothing else changes what is drawn."""

import json
import shutil
from pathlib import Path

import pytest

from app.runs.configs import SamplingConfig
from tests.workers.training.tiny_ppo import (
    Steps,
    prompts,
    write_letter_counter,
    write_letterless_template,
    write_policy,
)
from workers.training.batching import encode_completion, encode_prompt
from workers.training.judge import load_judge
from workers.training.loop import CannotTrain
from workers.training.sampling import SampledCompletion, best_of_curve, sample

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_letterless_template(write_policy(tmp_path_factory.mktemp("policy")))


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It counts lowercase letters."""
    return write_letterless_template(write_letter_counter(tmp_path_factory.mktemp("reward")))


def config(**changes: object) -> SamplingConfig:
    settings = {"completions_per_prompt": 2, "batch_size": 8, "max_prompt_tokens": 60, "max_completion_tokens": 8}
    return SamplingConfig(**(settings | {"threads": 1} | changes))


def run(
    model: Path, folder: Path, reward_model: Path | None, *, on_step: Steps | None = None, **changes: object
) -> list[SampledCompletion]:
    steps = Steps() if on_step is None else on_step
    return sample(config(**changes), prompts(4), steps, model=model, checkpoints=folder, reward_model=reward_model)


def test_each_place_keeps_the_best_of_its_own_draws(model: Path, reward_model: Path, tmp_path: Path) -> None:
    kept = run(model, tmp_path / "kept", reward_model, best_of=3)
    drawn = run(model, tmp_path / "drawn", reward_model, completions_per_prompt=6)
    judge, said = load_judge(reward_model), {prompt.id: prompt.messages for prompt in prompts(4)}
    assert [(c.prompt_id, c.index) for c in kept] == [(f"p{i}", k) for i in range(4) for k in range(2)]
    for completion in kept:
        own = [c for c in drawn if c.prompt_id == completion.prompt_id][completion.index * 3 :][:3]
        rewards = judge.rewards(said[completion.prompt_id], [c.text for c in own])
        assert completion.rewards == pytest.approx(rewards, abs=1e-5)
        assert completion.text == own[rewards.index(max(rewards))].text
        assert (completion.tokens, completion.mean_logprob) in [(c.tokens, c.mean_logprob) for c in own]


def test_being_scored_changes_nothing_that_is_drawn(model: Path, reward_model: Path, tmp_path: Path) -> None:
    plain, scored = run(model, tmp_path / "plain", None), run(model, tmp_path / "scored", reward_model)
    assert [c.text for c in plain] == [c.text for c in scored]
    assert {c.rewards for c in plain} == {None}
    assert all(c.rewards and len(c.rewards) == 1 for c in scored)


def test_the_batch_size_decides_nothing(model: Path, reward_model: Path, tmp_path: Path) -> None:
    texts = [
        [c.text for c in run(model, tmp_path / str(size), reward_model, best_of=4, batch_size=size)]
        for size in (1, 3, 64)
    ]
    assert texts[0] == texts[1] == texts[2]


def test_the_best_of_more_scores_higher_and_the_steps_say_so(model: Path, reward_model: Path, tmp_path: Path) -> None:
    steps = Steps()
    completions = run(model, tmp_path, reward_model, best_of=8, on_step=steps)
    assert all(step.metrics["reward_kept"] > step.metrics["reward"] for step in steps)
    curve = best_of_curve(completions)
    assert [n for n, _, _ in curve] == [1, 2, 4, 8, 16]
    means = [mean for _, mean, _ in curve]
    assert means == sorted(means)
    everything = [reward for c in completions for reward in c.rewards or []]
    assert means[0] == pytest.approx(sum(everything) / len(everything))
    by_prompt = [[r for c in completions if c.prompt_id == f"p{i}" for r in c.rewards or []] for i in range(4)]
    assert means[-1] == pytest.approx(sum(map(max, by_prompt)) / 4)
    assert curve[0][2] == 0


def test_a_stopped_run_goes_on_to_the_same_result(model: Path, reward_model: Path, tmp_path: Path) -> None:
    whole = run(model, tmp_path / "whole", reward_model, best_of=8, batch_size=4)
    stopped = run(model, tmp_path / "parts", reward_model, best_of=8, batch_size=4, on_step=Steps(stop_after=2))
    assert 0 < len(stopped) < len(whole)
    assert run(model, tmp_path / "parts", reward_model, best_of=8, batch_size=4) == whole


def test_another_reward_models_choice_is_not_ones_own(model: Path, reward_model: Path, tmp_path: Path) -> None:
    letters = run(model, tmp_path, reward_model, best_of=8)
    against = write_letterless_template(write_letter_counter(tmp_path / "against", scale=-4.0))
    assert run(model, tmp_path, against, best_of=8) != letters


def test_it_says_in_words_what_cannot_work(model: Path, reward_model: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match="no reward model to choose by"):
        run(model, tmp_path, None, best_of=2)
    judge = load_judge(reward_model)
    with pytest.raises(CannotTrain, match=r"which reads 96 at most\. Lower max_prompt_tokens"):
        judge.rewards([{"role": "user", "content": "1"}], ["far too long " * 20])


def read_at_most(reward_model: Path, folder: Path, context: int) -> Path:
    """That reward model with a context of so many tokens."""
    shutil.copytree(reward_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": context}))
    return folder


def test_a_reward_model_of_a_smaller_context_is_refused_before_anything_is_drawn_or_reads_what_it_can(
    model: Path, reward_model: Path, tmp_path: Path
) -> None:
    tokenizer = load_judge(reward_model).tokenizer
    longest = max(len(encode_prompt(tokenizer, prompt.messages)) for prompt in prompts(4))
    steps = Steps()
    short = read_at_most(reward_model, tmp_path / "short", longest + 7)
    with pytest.raises(CannotTrain, match=rf"are {longest + 8} tokens .* which reads {longest + 7} at most"):
        run(model, tmp_path / "refused", short, on_step=steps)
    assert not list(steps)
    enough = read_at_most(reward_model, tmp_path / "enough", longest + 8)
    completions = run(model, tmp_path / "done", enough, completions_per_prompt=8)
    assert max(len(encode_completion(tokenizer, c.text)) for c in completions) > 8, "a text of more tokens than drawn"
    assert all(c.rewards for c in completions)
