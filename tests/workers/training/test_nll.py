"""The loss on completions against slow references: what counts, accumulated, packed, padded."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from app.runs.configs import SftConfig
from tests.workers.architectures import PACKED, PADDED, of_architecture
from tests.workers.tiny import CONTEXT, demonstrations
from workers.training import heads, nll
from workers.training.demonstrations import Row, prepare
from workers.training.dropout import add_residual_dropout
from workers.training.models import load_policy
from workers.training.packing import packs

pytestmark = pytest.mark.train

CONFIG = SftConfig(max_prompt_tokens=40, max_completion_tokens=60, batch_size=4, micro_batch_size=2)


def changed(**changes: object) -> SftConfig:
    return SftConfig(**(CONFIG.model_dump() | changes))


def rows_of(tokenizer: PreTrainedTokenizerBase, n: int) -> list[Row]:
    return prepare(CONFIG, demonstrations(n), [], tokenizer, context=CONTEXT).train


def gradient(model: PreTrainedModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def slow_nll(model: PreTrainedModel, row: Row) -> Tensor:
    """One row alone, unpadded: -log p of each completion token, one after the other."""
    ids = row.prompt + row.completion
    logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(logprobs[place - 1, ids[place]] for place in range(len(ids) - row.targets, len(ids)))


def losses_and_gradients(model: PreTrainedModel, rows: list[Row]) -> list[tuple[float, Tensor]]:
    """By the trainer's own way, and by the slow one."""
    seen = []
    for summed in (nll.completion_nll(model, rows), sum(slow_nll(model, row) for row in rows)):
        model.zero_grad()
        summed.backward()
        seen.append((summed.item(), gradient(model)))
    return seen


def test_01_loss_is_on_the_completion_and_its_end_token_only(base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    model, rows = load_policy(base), rows_of(tokenizer, 6)
    expected = sum(slow_nll(model, row) for row in rows)
    assert nll.completion_nll(model, rows).item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(row.completion[-1] == tokenizer.eos_token_id for row in rows)
    assert sum(row.targets for row in rows) == sum(len(row.completion) for row in rows)


def test_01_plain_text_counts_all_but_its_first_token(base: Path) -> None:
    model, ids = load_policy(base), [5, 9, 33, 7, 12]
    row = Row([], ids, [])
    expected = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss * 4
    assert row.targets == 4
    assert nll.completion_nll(model, [row]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_02_accumulation_changes_neither_loss_nor_gradient(base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    rows, seen = rows_of(tokenizer, 16), []
    for size in (16, 1):
        model = load_policy(base)
        loss = nll.accumulate(model, rows, config=changed(batch_size=16, micro_batch_size=size), share=1.0)
        seen.append((loss, gradient(model)))
    (whole, whole_gradient), (pieces, pieces_gradient) = seen
    assert pieces == pytest.approx(whole, abs=1e-6)
    torch.testing.assert_close(pieces_gradient, whole_gradient, rtol=0, atol=1e-6)


def test_02_the_mean_is_over_tokens_not_over_rows(base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    model, rows = load_policy(base), rows_of(tokenizer, 4)
    assert len({row.targets for row in rows}) > 1
    expected = sum(slow_nll(model, row) for row in rows).item() / sum(row.targets for row in rows)
    assert nll.accumulate(model, rows, config=CONFIG, share=1.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("config", [*PACKED, *PADDED], ids=lambda config: config.model_type)
def test_03_packed_equals_padded_equals_one_row_at_a_time(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = of_architecture(config)
    assert packs(model.config) == (config in PACKED)
    rows = [*rows_of(tokenizer, 3), Row([], [5, 9, 33, 7, 12], [])]
    (ours, our_gradient), (slow, slow_gradient) = losses_and_gradients(model, rows)
    assert ours == pytest.approx(slow, rel=1e-6)
    torch.testing.assert_close(our_gradient, slow_gradient, rtol=1e-4, atol=1e-4)


def test_padding_is_counted_where_there_is_any(base: Path) -> None:
    rows = [Row([], [5] * length, []) for length in (4, 2, 9, 3)]
    padded = of_architecture(PADDED[0])
    assert nll.padding_share(padded, rows, micro_batch_size=2) == pytest.approx(1 - 18 / (2 * 4 + 2 * 9))
    assert nll.padding_share(load_policy(base), rows, micro_batch_size=2) == 0


def test_03_a_packed_row_draws_its_own_dropout_and_the_model_still_writes(
    base: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model, rows = load_policy(base), rows_of(tokenizer, 3)
    ids = torch.tensor([[5, 9, 33], [0, 4, 8]])
    before = model(ids).logits
    add_residual_dropout(model, 0.3)
    drawn = [nll.completion_nll(model.train(), rows).item() for _ in range(2)]
    assert drawn[0] != drawn[1]
    assert torch.equal(model.eval()(ids).logits, before)


def test_chunks_of_logits_change_neither_loss_nor_gradient(
    base: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = load_policy(base), rows_of(tokenizer, 4)
    monkeypatch.setattr(heads, "LOGITS_IN_CACHE", 7 * 320)  # seven positions at a time
    (ours, our_gradient), (slow, slow_gradient) = losses_and_gradients(model, rows)
    assert ours == pytest.approx(slow, rel=1e-6)
    torch.testing.assert_close(our_gradient, slow_gradient, rtol=1e-4, atol=1e-4)


def test_a_head_that_does_not_train_gets_no_gradient_and_passes_it_on(
    base: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model, rows = load_policy(base), rows_of(tokenizer, 3)
    nll.completion_nll(model, rows).backward()
    expected = model.model.layers[0].mlp.up_proj.weight.grad.clone()
    model.zero_grad()
    model.get_input_embeddings().weight.requires_grad_(False)
    nll.completion_nll(model, rows).backward()
    assert model.get_input_embeddings().weight.grad is None
    torch.testing.assert_close(model.model.layers[0].mlp.up_proj.weight.grad, expected)


def test_the_mix_weighs_text_by_its_share(base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    model, rows = load_policy(base), rows_of(tokenizer, 4)
    nll.accumulate(model, rows, config=CONFIG, share=1.0)
    whole = gradient(model)
    model.zero_grad()
    nll.accumulate(model, rows, config=CONFIG, share=0.25)
    torch.testing.assert_close(gradient(model), 0.25 * whole, rtol=0, atol=1e-6)
