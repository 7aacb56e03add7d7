"""The reward model's trainer: K-way against pairwise, the bias, whole runs."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Demonstration, Ranking
from app.runs.configs import RewardModelConfig
from tests.workers.tiny import CONTEXT, WORDS, demonstrations, ranking, rankings, save_base, tiny_config
from workers.training import reward_model
from workers.training.batching import encode_completion, encode_prompt
from workers.training.checkpoints import complete_checkpoints
from workers.training.loop import CannotTrain, Outcome, Signal, Step, TrainingFailed
from workers.training.models import RewardModel, load_policy, load_reward_model, new_reward_model
from workers.training.rankings import Element, prepare
from workers.training.rollout import Decoding, draw_completions

pytestmark = pytest.mark.train

CONFIG = RewardModelConfig(
    max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2, learning_rate=1e-3
)


class Recorder:
    """Keeps every step; stops the run after step `stop`."""

    def __init__(self, stop: int = 0) -> None:
        self.steps: list[Step] = []
        self.stop = stop

    def __call__(self, step: Step) -> Signal:
        self.steps.append(step)
        return Signal.STOP if step.number == self.stop else Signal.CONTINUE


def changed(**changes: object) -> RewardModelConfig:
    return RewardModelConfig(**(CONFIG.model_dump() | changes))


def run(
    folder: Path,
    base: Path,
    given: list[Ranking],
    config: RewardModelConfig = CONFIG,
    *,
    stop: int = 0,
    written: list[Demonstration] | None = None,
) -> tuple[Outcome, list[Step]]:
    recorder = Recorder(stop)
    places = {"base": base, "out": folder / "out", "checkpoints": folder / "checkpoints"}
    outcome = reward_model.train(config, given, recorder, demonstrations=written or [], **places)
    return outcome, recorder.steps


def pairwise_loss(model: RewardModel, elements: list[Element]) -> Tensor:
    """Every pair on its own: both conversations whole, alone and unpadded, then the means by hand."""
    losses = []
    for element in elements:
        own = []
        for winner, loser in element.pairs:
            rows = [torch.tensor([element.prompt + element.completions[i]]) for i in (winner, loser)]
            won, lost = (model.head(model.body(input_ids=row).last_hidden_state[0, -1])[0] for row in rows)
            own.append(-logsigmoid(won - lost))
        losses.append(torch.stack(own).mean())
    return torch.stack(losses).mean()


def gradient(model: RewardModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.fixture
def model(base: Path) -> RewardModel:
    torch.manual_seed(0)
    return new_reward_model(base, pad_token_id=1)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_04_k_way_equals_pairwise_in_loss_and_gradient(
    base: Path, model: RewardModel, tokenizer: PreTrainedTokenizerBase, micro_batch_size: int
) -> None:
    given = [*rankings(2, k=4), ranking(2, [f"Tale {i}." * (1 + i % 3) for i in range(9)], range(1, 10))]
    elements = prepare(CONFIG, given, tokenizer, context=CONTEXT).train
    assert sorted(len(element.completions) for element in elements) == [4, 4, 9]
    loss, right = reward_model.accumulate(model, elements, config=changed(micro_batch_size=micro_batch_size))
    ours = gradient(model)
    model.zero_grad()
    expected = pairwise_loss(model, elements)
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(ours, gradient(model), rtol=1e-4, atol=1e-5)
    assert 0 <= right <= sum(len(element.pairs) for element in elements)


def test_05_an_all_tied_prompt_gives_no_nan(base: Path, tmp_path: Path) -> None:
    tied = ranking(90, ["a", "b", "c"], [1, 1, 1])
    outcome, steps = run(tmp_path, base, [*rankings(4), tied])
    assert outcome.metrics["rankings_all_tied"] == 1
    assert all(torch.isfinite(torch.tensor(list(step.metrics.values()))).all() for step in steps)
    untouched, _ = run(tmp_path / "without", base, rankings(4))
    assert untouched.metrics["pairs"] == outcome.metrics["pairs"]


def soft_loss(model: RewardModel, elements: list[Element]) -> Tensor:
    """As `pairwise_loss`, every tie counted as half a win for either side, each prompt weighing 1."""
    losses = []
    for element in elements:
        rows = [torch.tensor([element.prompt + completion]) for completion in element.completions]
        scores = [model.head(model.body(input_ids=row).last_hidden_state[0, -1])[0] for row in rows]
        own = [-logsigmoid(scores[i] - scores[j]) for i, j in element.pairs]
        own += [-0.5 * logsigmoid(scores[i] - scores[j]) - 0.5 * logsigmoid(scores[j] - scores[i])
                for i, j in element.ties]  # fmt: skip
        losses.append(torch.stack(own).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("micro_batch_size", [1, 4])
def test_05_soft_ties_pull_together_and_a_prompt_still_weighs_1(
    model: RewardModel, tokenizer: PreTrainedTokenizerBase, micro_batch_size: int
) -> None:
    config = changed(ties="soft", micro_batch_size=micro_batch_size)
    given = [
        ranking(0, ["a dog", "a cat", "a sun"], [1, 1, 2]),
        ranking(1, ["a boat", "a ball"], [1, 1]),  # all tied
        ranking(2, [f"Tale {i}." * (1 + i % 3) for i in range(9)], [1, 2, 2, 3, 4, 4, 4, 5, 6]),
    ]
    elements = prepare(config, given, tokenizer, context=CONTEXT, with_ties=True).train
    assert [(len(element.pairs), len(element.ties)) for element in elements] == [(2, 1), (0, 1), (32, 4)]
    loss, _ = reward_model.accumulate(model, elements, config=config)
    ours = gradient(model)
    model.zero_grad()
    expected = soft_loss(model, elements)
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(ours, gradient(model), rtol=1e-4, atol=1e-5)


def test_05_soft_ties_train_where_dropped_ones_are_left_out(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """30 prompts whose two completions are as good as each other end up with scores closer than they began."""
    given = [ranking(i, ["The dog ran.", "A cake sat on the boat."], [1, 1], prompt_id=f"p{i}") for i in range(30)]
    given += [ranking(40 + i, ["The end.", "No."], [1, 2]) for i in range(2)]
    gaps = {}
    for ties in ("drop", "soft"):
        outcome, steps = run(tmp_path / ties, base, given, changed(ties=ties, epochs=4, learning_rate=3e-3))
        assert all(torch.isfinite(torch.tensor(list(step.metrics.values()))).all() for step in steps)
        assert outcome.metrics["prompts"] == {"drop": 2, "soft": 32}[ties]
        model = load_reward_model(tmp_path / ties / "out")
        tied = prepare(CONFIG, given, tokenizer, context=CONTEXT, with_ties=True).train[0]
        one, other = model.score_completions([tied.prompt], [tied.completions]).tolist()
        gaps[ties] = abs(one - other)
    assert gaps["soft"] < 0.05 < gaps["drop"]


def test_06_a_prompts_pairs_are_all_in_one_batch(base: Path, tmp_path: Path) -> None:
    second = [ranking(i, ["x", "y"], [1, 2], id=f"second-{i}", labeler="ben") for i in range(8)]
    _, steps = run(tmp_path, base, [*rankings(8), *second])
    assert [step.metrics["prompts"] for step in steps] == [4, 4]  # 16 rankings, 8 prompts


def test_08_what_ppo_draws_scores_as_what_was_ranked(
    base: Path, model: RewardModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """A completion that ended by itself carries the end token at which rankings were scored."""
    policy = load_policy(base)
    prompt = encode_prompt(tokenizer, ranking(0, [], []).messages)
    eos = tokenizer.eos_token_id
    for seed in range(200):
        uniforms = torch.rand(1, 1, 12, generator=torch.Generator().manual_seed(seed))
        decoding = Decoding(max_new_tokens=12, eos_ids=frozenset({eos}))
        ((drawn,),) = draw_completions(policy, [prompt], uniforms, decoding=decoding)
        if drawn.ended:
            break
    assert drawn.tokens[-1] == eos
    assert drawn.tokens.count(eos) == 1
    assert encode_completion(tokenizer, "Any text.")[-1] == eos
    whole = model(torch.tensor([prompt + drawn.tokens]), torch.ones(1, len(prompt) + len(drawn.tokens)))
    torch.testing.assert_close(whole, model.score_completions([prompt], [[drawn.tokens]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_10_demonstrations_score_0_on_average_after_loading(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, lora_rank: int
) -> None:
    written = demonstrations(9)
    held_out = [replace(d, completion=f"{d.completion} The end.", split="test") for d in written]
    outcome, _ = run(tmp_path, base, rankings(6), changed(lora_rank=lora_rank), written=written + held_out)
    model = load_reward_model(tmp_path / "out")
    assert model.bias == outcome.metrics["bias"] != 0
    scores = [
        model.score_completions(
            [encode_prompt(tokenizer, d.messages)], [[encode_completion(tokenizer, d.completion)]]
        ).item()
        for d in written
    ]
    assert sum(scores) / len(scores) == pytest.approx(0, abs=1e-5)
    assert max(scores) - min(scores) > 0.01


def test_without_demonstrations_the_ranked_completions_score_0(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    run(tmp_path, base, rankings(6))
    model = load_reward_model(tmp_path / "out")
    elements = prepare(CONFIG, rankings(6), tokenizer, context=CONTEXT).train
    scores = model.score_completions([e.prompt for e in elements], [e.completions for e in elements])
    assert scores.mean().item() == pytest.approx(0, abs=1e-5)
    assert "there were no demonstrations" in (tmp_path / "out" / "README.md").read_text()


def test_16_dropout_is_off(tmp_path: Path) -> None:
    """A base whose config asks for attention dropout trains to the very weights of one that does not."""
    plain = save_base(tmp_path / "plain", tiny_config())
    dropping = save_base(tmp_path / "dropping", tiny_config(attention_dropout=0.5))
    run(tmp_path / "a", plain, rankings(6))
    run(tmp_path / "b", dropping, rankings(6))
    first, second = (load_file(tmp_path / name / "out" / "model.safetensors") for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_29_numbers_that_are_none_end_the_run_in_words_with_the_checkpoint_kept(base: Path, tmp_path: Path) -> None:
    config = changed(checkpoint_every=1).model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingFailed, match=r"Step 2: the loss is .* A lower learning rate"):
        run(tmp_path, base, rankings(8), config)
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["step-00000001"]


def test_31_learns_50_rankings_to_the_last_pair(base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    given = [
        ranking(i, [f"The {WORDS[(i + j) % 12]} {'ran' if j % 2 else 'sat'} {j}." for j in range(4)], [2, 1, 2, 1])
        for i in range(50)
    ]
    _, steps = run(tmp_path, base, given, changed(epochs=8, batch_size=10, micro_batch_size=5, learning_rate=5e-3))
    assert steps[0].metrics["loss"] > 0.5
    model = load_reward_model(tmp_path / "out")
    elements = prepare(CONFIG, given, tokenizer, context=CONTEXT).train
    scores, pairs = reward_model.score(model, elements)
    assert len(pairs.winners) == 50 * 4
    assert bool((scores[pairs.winners] > scores[pairs.losers]).all())


def test_held_out_accuracy_is_counted_over_validation_rankings_only(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    given = rankings(12, valid=5)
    outcome, _ = run(tmp_path, base, given)
    model = load_reward_model(tmp_path / "out")
    right = pairs = 0
    for r in given[:5]:
        prompt = encode_prompt(tokenizer, r.messages)
        ids = [torch.tensor([prompt + encode_completion(tokenizer, text)]) for text in r.completions]
        scores = [model(row, torch.ones_like(row)).item() for row in ids]
        for i, j in itertools.permutations(range(len(ids)), 2):
            if r.ranks[i] < r.ranks[j] and r.completions[i] != r.completions[j]:
                right, pairs = right + (scores[i] > scores[j]), pairs + 1
    seen = outcome.metrics
    assert (seen["valid_rankings"], seen["valid_pairs"]) == (5, pairs)
    assert seen["valid_accuracy"] == pytest.approx(right / pairs)
    assert 0 <= seen["valid_accuracy_low"] <= seen["valid_accuracy"] <= seen["valid_accuracy_high"] <= 1


def test_without_a_validation_split_there_is_no_accuracy(base: Path, tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, base, rankings(5))
    assert outcome.metrics["valid_rankings"] == 0
    assert "valid_accuracy" not in outcome.metrics


def test_stopping_keeps_a_checkpoint_and_going_on_changes_nothing(base: Path, tmp_path: Path) -> None:
    given, config = rankings(14, valid=2), changed(epochs=2)
    whole, _ = run(tmp_path / "whole", base, given, config)
    stopped, _ = run(tmp_path / "stopped", base, given, config, stop=2)
    assert (stopped.finished, stopped.step) == (False, 2)
    assert not (tmp_path / "stopped" / "out").exists()
    ended, steps = run(tmp_path / "stopped", base, given, config)
    assert steps[0].number == 3
    assert ended.metrics == whole.metrics
    assert (tmp_path / "stopped/out/model.safetensors").read_bytes() == (
        tmp_path / "whole/out/model.safetensors"
    ).read_bytes()


def test_members_are_trained_from_seeds_that_follow_each_other(base: Path, tmp_path: Path) -> None:
    given = rankings(14, valid=2)
    together, steps = run(tmp_path / "together", base, given, changed(members=3, seed=7), written=demonstrations(3))
    assert [step.number for step in steps] == list(range(1, 10))
    assert {step.total for step in steps} == {9}
    assert [step.metrics["training"] for step in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    heads = set()
    for number in range(3):
        alone, _ = run(tmp_path / str(number), base, given, changed(seed=7 + number), written=demonstrations(3))
        one = tmp_path / f"together/out/member-{number + 1}/model.safetensors"
        assert one.read_bytes() == (tmp_path / str(number) / "out/model.safetensors").read_bytes()
        assert together.report["members"][number] == alone.metrics | alone.report
        heads.add(one.read_bytes())
    assert len(heads) == 3
    assert together.metrics["members"] == 3
    assert together.metrics["bias"] == pytest.approx(sum(m["bias"] for m in together.report["members"]) / 3)


@pytest.mark.parametrize("stop", [2, 3, 5, 6])
def test_members_stopped_within_and_between_them_go_on_to_the_same_models(
    base: Path, tmp_path: Path, stop: int
) -> None:
    given, config = rankings(14, valid=2), changed(members=3)
    whole, _ = run(tmp_path / "whole", base, given, config)
    stopped, _ = run(tmp_path / "stopped", base, given, config, stop=stop)
    assert (stopped.finished, stopped.step) == (False, stop)
    ended, steps = run(tmp_path / "stopped", base, given, config)
    assert [step.number for step in steps] == list(range(stop + 1, 10))
    assert ended == whole
    for number in range(1, 4):
        one, other = (tmp_path / name / f"out/member-{number}/model.safetensors" for name in ("whole", "stopped"))
        assert one.read_bytes() == other.read_bytes()


def test_members_of_another_run_are_refused(base: Path, tmp_path: Path) -> None:
    run(tmp_path, base, rankings(14), changed(members=2), stop=5)
    with pytest.raises(CannotTrain, match="other settings or other data"):
        run(tmp_path, base, rankings(14), changed(members=2, learning_rate=2e-3))


def test_a_base_that_is_a_reward_model_is_refused(base: Path, tmp_path: Path) -> None:
    run(tmp_path, base, rankings(4))
    with pytest.raises(CannotTrain, match="not a causal language model"):
        run(tmp_path / "again", tmp_path / "out", rankings(4))


def test_a_run_that_cannot_work_writes_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match="Every ranking is a tie"):
        run(tmp_path, base, [ranking(0, ["a", "b"], [1, 1])])
    assert not list(tmp_path.iterdir())
