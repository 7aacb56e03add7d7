"""DPO's trainer: K-way against pairs one by one, the reference, whole runs."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.datasets.examples import Ranking
from app.runs.newer_configs import DpoConfig
from tests.workers.tiny import CONTEXT, WORDS, ranking, rankings, save_base, tiny_config
from workers.training import dpo
from workers.training.batching import encode_completion, encode_prompt
from workers.training.checkpoints import complete_checkpoints
from workers.training.loop import CannotTrain, Outcome, Signal, Step, TrainingFailed
from workers.training.models import load_policy
from workers.training.rankings import prepare

pytestmark = pytest.mark.train

CONFIG = DpoConfig(max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2, learning_rate=1e-3)


class Recorder:
    """Keeps every step; stops the run after step `stop`."""

    def __init__(self, stop: int = 0) -> None:
        self.steps: list[Step] = []
        self.stop = stop

    def __call__(self, step: Step) -> Signal:
        self.steps.append(step)
        return Signal.STOP if step.number == self.stop else Signal.CONTINUE


def changed(**changes: object) -> DpoConfig:
    return DpoConfig(**(CONFIG.model_dump() | changes))


def run(
    folder: Path, base: Path, given: list[Ranking], config: DpoConfig = CONFIG, *, stop: int = 0
) -> tuple[Outcome, list[Step]]:
    recorder = Recorder(stop)
    outcome = dpo.train(config, given, recorder, base=base, out=folder / "out", checkpoints=folder / "checkpoints")
    return outcome, recorder.steps


def logprob(model: PreTrainedModel, prompt: list[int], completion: list[int]) -> Tensor:
    """One conversation alone, its completion's tokens read off whole logits."""
    logprobs = model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
    return torch.stack([logprobs[len(prompt) + t - 1, token] for t, token in enumerate(completion)]).sum()


def pairwise_loss(config: DpoConfig, model: PreTrainedModel, reference: PreTrainedModel, known: list[dpo.Known]):
    """Every pair on its own under both models, then the means by hand."""
    losses = []
    for element in (each.element for each in known):
        own = []
        for pair in element.pairs:
            ratios = []
            for completion in (element.completions[i] for i in pair):
                with torch.no_grad():
                    was = logprob(reference, element.prompt, completion)
                ratio = logprob(model, element.prompt, completion) - was
                ratios.append(ratio / len(completion) if config.loss == "ipo" else ratio)
            gap = ratios[0] - ratios[1]
            if config.loss == "ipo":
                own.append((gap - 1 / (2 * config.beta)) ** 2)
            else:
                share = config.label_smoothing
                own.append(-(1 - share) * logsigmoid(config.beta * gap) - share * logsigmoid(-config.beta * gap))
        losses.append(torch.stack(own).mean())
    return torch.stack(losses).mean()


def moved(base: Path) -> PreTrainedModel:
    """The base after some training: its log-ratios are far from 0."""
    model = load_policy(base)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def gradient(model: PreTrainedModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_batch_size": 1, "beta": 0.5},
        {"micro_batch_size": 4, "label_smoothing": 0.2, "beta": 0.3},
        {"micro_batch_size": 2, "loss": "ipo", "beta": 0.3},
    ],
)
def test_04_k_way_equals_pairwise_in_loss_and_gradient(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, changes: dict[str, object]
) -> None:
    config = changed(**changes)
    given = [*rankings(2, k=4), ranking(2, [f"Tale {i}." * (1 + i % 3) for i in range(9)], range(1, 10))]
    elements = prepare(config, given, tokenizer, context=CONTEXT)
    known, _ = dpo.with_reference(config, load_policy(base), elements, tmp_path / "reference", mark="test")
    assert sorted(len(each.reference) for each in known) == [4, 4, 9]
    model = moved(base)
    tally = dpo.accumulate(config, model, known)
    ours = gradient(model)
    model.zero_grad()
    expected = pairwise_loss(config, model, load_policy(base), known)
    expected.backward()
    assert tally.loss == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours, gradient(model), rtol=1e-3, atol=1e-4 * float(ours.abs().max()))


def test_the_figures_are_means_over_pairs(base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    elements = prepare(CONFIG, rankings(3), tokenizer, context=CONTEXT)
    reference, model = load_policy(base), moved(base)
    known, _ = dpo.with_reference(CONFIG, reference, elements, tmp_path / "reference", mark="test")
    chosen, rejected = [], []
    for element in elements.train:
        with torch.no_grad():
            change = [
                float(logprob(model, element.prompt, c) - logprob(reference, element.prompt, c))
                for c in element.completions
            ]
        chosen += [change[winner] for winner, _ in element.pairs]
        rejected += [change[loser] for _, loser in element.pairs]
    n = len(chosen)
    figures = dpo.accumulate(CONFIG, model, known).figures()
    assert figures["chosen_change"] == pytest.approx(sum(chosen) / n, abs=1e-4)
    assert figures["rejected_change"] == pytest.approx(sum(rejected) / n, abs=1e-4)
    assert figures["margin"] == pytest.approx(CONFIG.beta * (sum(chosen) - sum(rejected)) / n, abs=1e-4)
    right = sum(won > lost for won, lost in zip(chosen, rejected, strict=True))
    assert figures["accuracy"] == pytest.approx(right / n)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_17_before_the_first_step_policy_and_reference_are_one(base: Path, tmp_path: Path, lora_rank: int) -> None:
    _, steps = run(tmp_path, base, rankings(6, valid=2), changed(lora_rank=lora_rank, evaluate_every=1), stop=1)
    first = steps[0].metrics
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert first["chosen_change"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_28_the_reference_is_the_policy_at_the_start_also_after_going_on(
    base: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase, lora_rank: int
) -> None:
    """What is cached is the base's word; lost and taken again in the middle of a run, it is the same to the bit."""
    given, config = rankings(12, valid=3), changed(lora_rank=lora_rank, epochs=2)
    run(tmp_path / "whole", base, given, config)
    run(tmp_path / "torn", base, given, config, stop=3)
    cached = tmp_path / "torn/checkpoints" / dpo.REFERENCE_FILE
    first = cached.read_bytes()
    elements = prepare(config, given, tokenizer, context=CONTEXT)
    untouched = load_policy(base)
    everything = [*elements.train, *elements.valid]
    with torch.no_grad():
        slow = [logprob(untouched, e.prompt, c) for e in everything for c in e.completions]
    torch.testing.assert_close(load_file(cached)["logprobs"], torch.stack(slow), rtol=1e-5, atol=1e-4)

    cached.write_bytes(first[: len(first) // 2])  # torn by a crash
    run(tmp_path / "torn", base, given, config)
    assert cached.read_bytes() == first
    weights = [tmp_path / name / "out/model.safetensors" for name in ("whole", "torn")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_another_runs_reference_is_not_taken(base: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    elements = prepare(CONFIG, rankings(3), tokenizer, context=CONTEXT)
    file = tmp_path / dpo.REFERENCE_FILE
    dpo.with_reference(CONFIG, moved(base), elements, file, mark="another")
    known, _ = dpo.with_reference(CONFIG, load_policy(base), elements, file, mark="this")
    torch.testing.assert_close(
        torch.cat([each.reference for each in known]),
        dpo.reference_logprobs(CONFIG, load_policy(base), elements.train),
        rtol=0, atol=0,
    )  # fmt: skip


def test_05_an_all_tied_prompt_gives_no_nan(base: Path, tmp_path: Path) -> None:
    tied = ranking(90, ["a", "b", "c"], [1, 1, 1])
    outcome, steps = run(tmp_path, base, [*rankings(4), tied])
    assert outcome.metrics["rankings_all_tied"] == 1
    assert outcome.metrics["prompts"] == 4
    assert all(math.isfinite(value) for step in steps for value in step.metrics.values())


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
    with pytest.raises(TrainingFailed, match=r"Step 2: the loss is (?!0\.0 ).* A lower learning rate"):
        run(tmp_path, base, rankings(8), config)
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["step-00000001"]


@pytest.mark.parametrize("changes", [{}, {"lora_rank": 8}, {"loss": "ipo"}])
def test_31_learns_50_rankings_to_the_last_pair(base: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    given = [
        ranking(i, [f"The {WORDS[(i + j) % 12]} {'ran' if j % 2 else 'sat'} {j}." for j in range(4)], [2, 1, 2, 1])
        for i in range(50)
    ]
    config = changed(epochs=8, batch_size=10, micro_batch_size=5, learning_rate=5e-3, **changes)
    _, steps = run(tmp_path, base, given, config)
    assert steps[-1].metrics["accuracy"] == 1
    assert steps[-1].metrics["chosen_change"] > steps[-1].metrics["rejected_change"]
    untouched, trained = load_file(base / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert untouched.keys() == trained.keys()


def test_ipo_stops_at_its_margin_where_dpo_goes_on(base: Path, tmp_path: Path) -> None:
    """1 / (2 beta) nats a token, times beta: a margin of one half, whatever beta is."""
    given = [ranking(i, [f"The {WORDS[i]} ran.", f"The {WORDS[i]} sat."], [1, 2]) for i in range(4)]
    settings = {"epochs": 60, "learning_rate": 3e-3, "beta": 0.5}
    _, ipo = run(tmp_path / "ipo", base, given, changed(loss="ipo", **settings))
    _, plain = run(tmp_path / "dpo", base, given, changed(**settings))
    assert ipo[-1].metrics["margin"] == pytest.approx(0.5, abs=0.05)
    assert plain[-1].metrics["margin"] > 2


def test_held_out_rankings_are_measured_and_never_trained_on(base: Path, tmp_path: Path) -> None:
    given = rankings(12, valid=5)
    outcome, steps = run(tmp_path, base, given, changed(evaluate_every=1))
    assert all("valid_loss" in step.metrics for step in steps)
    assert [step.metrics["prompts"] for step in steps] in ([4, 3], [3, 4])
    seen = outcome.metrics
    assert (seen["prompts"], seen["valid_rankings"]) == (7, 5)
    assert 0 <= seen["valid_accuracy_low"] <= seen["valid_accuracy"] <= seen["valid_accuracy_high"] <= 1

    untouched, trained = load_policy(base), load_policy(tmp_path / "out")
    tokens = dpo.load_tokenizer(base)
    right = pairs = 0.0
    for r in given[:5]:
        prompt, completions = encode_prompt(tokens, r.messages), [encode_completion(tokens, c) for c in r.completions]
        with torch.no_grad():
            change = [float(logprob(trained, prompt, c) - logprob(untouched, prompt, c)) for c in completions]
        won = [change[i] > change[j] for i, a in enumerate(r.ranks) for j, b in enumerate(r.ranks) if a < b]
        right, pairs = right + sum(won), pairs + len(won)
    assert seen["valid_accuracy"] == pytest.approx(right / pairs)


def test_looks_show_what_it_wrote_before_and_writes_now(base: Path, tmp_path: Path) -> None:
    _, steps = run(tmp_path, base, rankings(12, valid=2), changed(epochs=2, evaluate_every=2, learning_rate=1e-2))
    looks = [step.samples for step in steps if step.samples]
    assert [step.number for step in steps if step.samples] == [2, 4, 6]
    assert [sample.prompt for sample in looks[0]] == [r.messages[-1]["content"] for r in rankings(2)]
    assert [sample.before for sample in looks[0]] == [sample.before for sample in looks[-1]]
    assert [sample.after for sample in looks[-1]] != [sample.before for sample in looks[-1]]


def test_stopping_keeps_a_checkpoint_and_going_on_changes_nothing(base: Path, tmp_path: Path) -> None:
    given, config = rankings(14, valid=2), changed(epochs=2)
    whole, _ = run(tmp_path / "whole", base, given, config)
    stopped, _ = run(tmp_path / "stopped", base, given, config, stop=2)
    assert (stopped.finished, stopped.step) == (False, 2)
    assert not (tmp_path / "stopped" / "out").exists()
    ended, steps = run(tmp_path / "stopped", base, given, config)
    assert steps[0].number == 3
    assert ended.metrics == whole.metrics
    weights = [tmp_path / name / "out/model.safetensors" for name in ("stopped", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_card_says_which_loss_it_was(base: Path, tmp_path: Path) -> None:
    for name, changes in {"DPO": {}, "cDPO": {"label_smoothing": 0.1}, "IPO": {"loss": "ipo"}}.items():
        run(tmp_path / name, base, rankings(4), changed(**changes))
        assert f"# {name} policy" in (tmp_path / name / "out" / "README.md").read_text()
        assert "shared_prefix" not in (tmp_path / name / "out" / "config.json").read_text()


def test_a_run_that_cannot_work_writes_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match="Every ranking is a tie"):
        run(tmp_path, base, [ranking(0, ["a", "b"], [1, 1])])
    assert not list(tmp_path.iterdir())


def test_recomputed_activations_change_nothing(base: Path, tmp_path: Path) -> None:
    weights = []
    for again in (False, True):
        run(tmp_path / str(again), base, rankings(6), changed(activation_checkpointing=again))
        weights.append(load_file(tmp_path / str(again) / "out" / "model.safetensors"))
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=1e-6)


def test_adapters_may_stay_adapters(base: Path, tmp_path: Path) -> None:
    run(tmp_path / "merged", base, rankings(6), changed(lora_rank=4))
    run(tmp_path / "beside", base, rankings(6), changed(lora_rank=4, merge_lora=False))
    assert (tmp_path / "beside" / "out" / "adapter").is_dir()
    ids = torch.tensor([[5, 6, 7, 8]])
    merged, beside = (load_policy(tmp_path / name / "out")(ids).logits for name in ("merged", "beside"))
    torch.testing.assert_close(beside, merged, rtol=0, atol=1e-5)
