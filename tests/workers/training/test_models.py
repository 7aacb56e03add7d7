"""Loading, refusing, scoring and saving models, against the plain computation."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPTNeoXConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from tests.workers.tiny import CONTEXT, save_base, tiny_config, tiny_tokenizer
from workers.training.adapters import add_lora, merge_lora
from workers.training.batching import DEFAULT_CHAT_TEMPLATE, pad
from workers.training.loop import CannotTrain
from workers.training.models import (
    RewardModel,
    check_causal_lm,
    load_policy,
    load_reward_model,
    load_tokenizer,
    new_reward_model,
    save_policy,
    save_reward_model,
)
from workers.training.shared_prefix import SHARES_PREFIX

pytestmark = pytest.mark.train

SMALL = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, "initializer_range": 0.1,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
}  # fmt: skip
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": tiny_config(),
    "mistral": MistralConfig(**SMALL, sliding_window=None),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**SMALL, head_dim=8),
    "smollm3": SmolLM3Config(**SMALL),
    "gpt2": GPT2Config(
        vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, initializer_range=0.1, pad_token_id=1
    ),
    "gpt_neox": GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "num_key_value_heads"}),
}
PROMPTS = [[5, 9, 33, 7], [8, 12], [41, 42, 43, 44, 45, 46, 47]]
COMPLETIONS = [[[90, 91, 0], [92, 0]], [[93, 94, 95, 96, 97, 0]], [[98, 0], [0], [99, 100, 101, 102, 0]]]


def plain_scores(model: RewardModel) -> Tensor:
    """Each conversation alone, unpadded, its last token's score."""
    rows = [prompt + own for prompt, several in zip(PROMPTS, COMPLETIONS, strict=True) for own in several]
    hidden = [model.body(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in rows]
    return model.head(torch.stack(hidden)).squeeze(-1) + model.bias


def gradient(model: RewardModel, scores: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    (scores * torch.linspace(-1, 1, len(scores))).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("architecture", sorted(SHARES_PREFIX))
def test_11_shared_prompts_score_as_plain_ones_in_value_and_gradient(architecture: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", CONFIGS[architecture])
    torch.manual_seed(1)
    model = new_reward_model(base, pad_token_id=1)
    shared, plain = model.score_completions(PROMPTS, COMPLETIONS), plain_scores(model)
    torch.testing.assert_close(shared, plain, rtol=0, atol=1e-5)
    shared_gradient, plain_gradient = gradient(model, shared), gradient(model, plain)
    assert shared_gradient.keys() == plain_gradient.keys()
    for name, expected in plain_gradient.items():
        torch.testing.assert_close(shared_gradient[name], expected, rtol=1e-4, atol=2e-5, msg=name)


def test_11_shared_prompts_score_as_plain_ones_under_activation_checkpointing(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = new_reward_model(save_base(tmp_path / "base"), pad_token_id=1)
    expected = gradient(model, plain_scores(model))
    model.body.activation_checkpointing_enable({"use_reentrant": False})
    model.train()  # in evaluation mode transformers checkpoints nothing
    given = gradient(model, model.score_completions(PROMPTS, COMPLETIONS))
    for name, one in expected.items():
        torch.testing.assert_close(given[name], one, rtol=1e-4, atol=2e-5, msg=name)


def test_11_a_model_that_shared_its_prompts_reads_padded_rows_as_before(base: Path) -> None:
    model = new_reward_model(base, pad_token_id=1)
    rows = [prompt + own for prompt, several in zip(PROMPTS, COMPLETIONS, strict=True) for own in several]
    padded = pad(rows, value=1, side="left")
    before = model(*padded)
    model.score_completions(PROMPTS, COMPLETIONS)
    assert torch.equal(model(*padded), before)


def test_11_a_sliding_window_is_scored_plainly(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", MistralConfig(**SMALL, sliding_window=3))
    model = new_reward_model(base, pad_token_id=1)
    torch.testing.assert_close(model.score_completions(PROMPTS, COMPLETIONS), plain_scores(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])  # relative and absolute positions
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("value", [0, 1, 77], ids=["pad-is-eos", "pad", "pad-is-a-word"])
@pytest.mark.parametrize("extra", [0, 5])
def test_07_the_score_is_read_at_the_last_real_token(
    tmp_path: Path, architecture: str, side: str, value: int, extra: int
) -> None:
    model = new_reward_model(save_base(tmp_path / "base", CONFIGS[architecture]), pad_token_id=1)
    rows = [prompt + own for prompt, several in zip(PROMPTS, COMPLETIONS, strict=True) for own in several]
    ids, mask = pad(rows, value=value, side=side)
    wider = (extra, 0) if side == "left" else (0, extra)
    ids = torch.nn.functional.pad(ids, wider, value=value)
    mask = torch.nn.functional.pad(mask, wider, value=0)
    torch.testing.assert_close(model(ids, mask), plain_scores(model), rtol=0, atol=1e-5)
    at_each_token = model.token_scores(ids, mask)
    last = [max(place for place in range(ids.shape[1]) if mask[row, place]) for row in range(len(rows))]
    torch.testing.assert_close(at_each_token[range(len(rows)), last], plain_scores(model), rtol=0, atol=1e-5)


def test_the_head_starts_as_the_papers(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", tiny_config(hidden_size=1024, num_hidden_layers=1))
    torch.manual_seed(3)
    weight = new_reward_model(base, pad_token_id=1).head.weight.detach()
    assert weight.shape == (1, 1024)
    assert weight.std().item() == pytest.approx((1024 + 1) ** -0.5, rel=0.1)
    assert abs(weight.mean().item()) < 3 / 1024


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_09_head_and_bias_reload_bit_for_bit(
    base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, lora_rank: int
) -> None:
    model = new_reward_model(base, pad_token_id=1)
    model.bias = 0.1 + 0.2  # no short decimal
    if lora_rank:
        add_lora(model, lora_rank)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        merge_lora(model)
    save_reward_model(model, tokenizer, tmp_path / "rm", card="# A reward model")
    again = load_reward_model(tmp_path / "rm")
    assert again.bias == model.bias
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(again.score_completions(PROMPTS, COMPLETIONS), model.score_completions(PROMPTS, COMPLETIONS))
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", num_labels=1)
    ids, mask = pad([PROMPTS[0] + COMPLETIONS[0][0], PROMPTS[1] + COMPLETIONS[1][0]], value=1)
    scores = theirs(input_ids=ids, attention_mask=mask).logits.squeeze(-1) + model.bias
    torch.testing.assert_close(scores, model(ids, mask), rtol=0, atol=1e-6)


def test_a_saved_policy_is_an_ordinary_folder(base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    model = load_policy(base)
    save_policy(model, tokenizer, tmp_path / "policy", card="# A policy")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    for name, tensor in model.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor)
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").chat_template == DEFAULT_CHAT_TEMPLATE
    assert (tmp_path / "policy" / "README.md").read_text() == "# A policy"
    assert not list((tmp_path / "policy").glob("*.bin"))


def test_a_folder_is_replaced_whole(base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    out = tmp_path / "policy"
    out.mkdir()
    (out / "left-over").touch()
    save_policy(load_policy(base), tokenizer, out, card="")
    assert not (out / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_facts_of_a_base(base: Path) -> None:
    facts = check_causal_lm(base)
    assert facts.context == CONTEXT
    assert facts.vocabulary == 320
    assert facts.architecture == "LlamaForCausalLM"
    assert facts.parameters == sum(p.numel() for p in load_policy(base).parameters())


def test_a_tokenizer_without_padding_pads_with_its_end_token(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    tiny_tokenizer(pad=None).save_pretrained(base)
    assert load_tokenizer(base).pad_token_id == load_tokenizer(base).eos_token_id


class TestRefused:
    """Folders that are no causal language model, each with its reason in words."""

    @pytest.fixture
    def folder(self, base: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(base, tmp_path / "copy"))

    def refused(self, folder: Path) -> str:
        with pytest.raises(CannotTrain) as refusal:
            check_causal_lm(folder)
        return str(refusal.value)

    def change(self, file: Path, **changes: object) -> None:
        settings = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))

    def test_no_such_folder(self, tmp_path: Path) -> None:
        assert "no config.json" in self.refused(tmp_path / "nowhere")

    def test_a_broken_config(self, folder: Path) -> None:
        (folder / "config.json").write_text("{")
        assert "is not JSON" in self.refused(folder)

    def test_an_unknown_architecture(self, folder: Path) -> None:
        self.change(folder / "config.json", model_type="unheard-of")
        assert "no known architecture" in self.refused(folder)

    def test_remote_code(self, folder: Path) -> None:
        auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
        self.change(folder / "config.json", model_type="own", auto_map=auto_map)
        (folder / "own.py").write_text("raise SystemExit('this ran')")
        assert "its own code, which Touchstone never does" in self.refused(folder)

    def test_an_encoder(self, folder: Path) -> None:
        config = BertConfig(
            vocab_size=320, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        BertForMaskedLM(config).save_pretrained(folder)
        assert "not a causal language model" in self.refused(folder)

    def test_a_reward_model(self, base: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
        save_reward_model(new_reward_model(base, pad_token_id=1), tokenizer, tmp_path / "rm", card="")
        assert "LlamaForSequenceClassification, not a causal language model" in self.refused(tmp_path / "rm")

    def test_a_policy_as_reward_model(self, base: Path) -> None:
        with pytest.raises(CannotTrain, match="LlamaForCausalLM, not a reward model"):
            load_reward_model(base)

    def test_pickled_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
        assert "pickle" in self.refused(folder)

    def test_no_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        assert "no weights" in self.refused(folder)

    def test_torn_weights(self, folder: Path) -> None:
        weights = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        assert "does not load" in self.refused(folder)

    def test_missing_weights(self, folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        del weights["model.norm.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        assert "missing or of another shape, such as model.norm.weight" in self.refused(folder)

    def test_weights_of_another_size(self, folder: Path) -> None:
        self.change(folder / "config.json", intermediate_size=64)
        assert "shape" in self.refused(folder)

    def test_no_tokenizer(self, folder: Path) -> None:
        for file in folder.glob("tokenizer*"):
            file.unlink()
        assert "tokenizer does not load" in self.refused(folder)

    def test_no_end_token(self, folder: Path) -> None:
        self.change(folder / "tokenizer_config.json", eos_token=None)
        assert 'no end token, so completions could never end. Set "eos_token"' in self.refused(folder)

    def test_more_tokens_than_embeddings(self, folder: Path) -> None:
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(tiny_config(vocab_size=300)).save_pretrained(folder)
        assert "only 300 embeddings" in self.refused(folder)
