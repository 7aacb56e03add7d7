"""LoRA in place: what trains, switching off, merging."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GPT2Config

from tests.workers.tiny import save_base, tiny_tokenizer
from workers.training.adapters import add_lora, lora_off, merge_lora, share_weights
from workers.training.models import load_policy, new_reward_model, save_policy

pytestmark = pytest.mark.train

IDS = torch.tensor([[5, 6, 7, 8]])


def _wake(model: torch.nn.Module) -> None:
    """Adapters start as no change at all; give them something to say."""
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)


def test_only_adapters_train_and_start_as_no_change(base: Path) -> None:
    model, untouched = load_policy(base), load_policy(base)
    add_lora(model, 2)
    assert torch.equal(model(IDS).logits, untouched(IDS).logits)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_a_reward_models_head_trains_too(base: Path) -> None:
    model = new_reward_model(base, pad_token_id=1)
    add_lora(model, 2)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert "classifier.score.weight" in trained
    assert all("lora_" in name for name in trained - {"classifier.score.weight"})


def test_off_computes_as_the_base_bit_for_bit_and_trains_again_after(base: Path) -> None:
    model, untouched = load_policy(base), load_policy(base)
    add_lora(model, 2)
    _wake(model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    with lora_off(model):
        assert torch.equal(model(IDS).logits, untouched(IDS).logits)
    assert not torch.allclose(model(IDS).logits, untouched(IDS).logits)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trained


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_merging_keeps_what_the_model_computes_and_its_names(base: Path, tmp_path: Path, architecture: str) -> None:
    gpt2 = GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    folder = base if architecture == "llama" else save_base(tmp_path / "gpt2", gpt2)
    model, untouched = load_policy(folder), load_policy(folder)
    add_lora(model, 2)
    _wake(model)
    adapted = model(IDS).logits
    merge_lora(model)
    torch.testing.assert_close(model(IDS).logits, adapted, rtol=0, atol=1e-5)
    assert model.state_dict().keys() == untouched.state_dict().keys()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_unmerged_a_folder_holds_the_base_and_its_adapter_which_peft_reads(
    base: Path, tmp_path: Path, architecture: str
) -> None:
    gpt2 = GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    folder = base if architecture == "llama" else save_base(tmp_path / "gpt2", gpt2)
    model, untouched = load_policy(folder), AutoModelForCausalLM.from_pretrained(folder)
    add_lora(model, 2)
    _wake(model)
    adapted = model(IDS).logits.detach()
    save_policy(model, tiny_tokenizer(), tmp_path / "out", card="# A policy")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(plain(IDS).logits, untouched(IDS).logits)
    by_peft = PeftModel.from_pretrained(plain, tmp_path / "out" / "adapter")
    torch.testing.assert_close(by_peft(IDS).logits, adapted, rtol=0, atol=1e-5)
    ours = load_policy(tmp_path / "out")
    torch.testing.assert_close(ours(IDS).logits, adapted, rtol=0, atol=1e-5)
    assert ours.state_dict().keys() == untouched.state_dict().keys()
    assert "were not merged" in (tmp_path / "out" / "README.md").read_text()


def test_saved_twice_an_adapter_is_the_same_file(base: Path, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        model = load_policy(base)
        torch.manual_seed(5)
        add_lora(model, 2)
        save_policy(model, tiny_tokenizer(), tmp_path / name, card="")
        written.append([file.read_bytes() for file in sorted((tmp_path / name / "adapter").iterdir())])
    assert written[0] == written[1]


def test_equal_frozen_weights_become_one_memory(base: Path) -> None:
    first, second = load_policy(base), load_policy(base)
    assert share_weights(second, first) == 0, "what trains is nobody else's"
    for model in (first, second):
        add_lora(model, 2)
    with torch.no_grad():
        second.model.layers[0].mlp.up_proj.base_layer.weight[0, 0] += 1
    before = second(IDS).logits
    saved = share_weights(second, first)
    body = sum(p.numel() for name, p in first.model.named_parameters() if "lora" not in name)
    assert saved == 4 * (body - first.model.layers[0].mlp.up_proj.base_layer.weight.numel())
    assert torch.equal(second(IDS).logits, before)
    assert share_weights(second, first) == 0
