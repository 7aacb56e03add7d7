"""Models as ordinary Hugging Face folders: checked, loaded, scored with, saved. Safetensors only, no remote code."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from workers.rlhf.masking import position_ids, take_last
from workers.training.adapters import FOLDER as ADAPTER
from workers.training.adapters import detach_lora, load_adapter, merge_lora, save_adapter
from workers.training.batching import DEFAULT_CHAT_TEMPLATE, pad
from workers.training.checkpoints import written_beside
from workers.training.fused import fuse
from workers.training.loop import CannotTrain
from workers.training.matmul import multiply_by_onednn
from workers.training.processes import is_main
from workers.training.shared_prefix import last_hidden, shares_prefix

# A worker's log is for people: no progress bars, no table of the head that is new by intent.
logging.disable_progress_bar()
logging.set_verbosity_error()

_UNMERGED = (
    "\n\nThe adapters were not merged: the weights here are those before training, the adapters lie in `adapter/`. "
    "Touchstone puts both together when it loads the folder; elsewhere peft does, with `PeftModel.from_pretrained`.\n"
)

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the registry shows of a model."""

    parameters: int
    context: int
    vocabulary: int
    architecture: str


def device() -> torch.device:
    """Where this process computes: its GPU if it has one."""
    return PartialState().device


def autocast(precision: str) -> AbstractContextManager[object]:
    """bf16 arithmetic on a GPU when asked for; weights and optimizer stay fp32."""
    if precision == "bf16" and device().type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def context_of(config: PreTrainedConfig) -> int:
    """How many tokens the model can read."""
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    raise CannotTrain("The model's config.json does not say how long its context is (max_position_embeddings).")


def read_context(path: Path) -> int:
    """How many tokens the folder's model can read; refuses what is no causal language model."""
    return context_of(_require_causal_lm(path))


def _foreign_folder(check: Callable[[Path], Facts]) -> Callable[[Path], Facts]:
    """Somebody brought the folder: whatever the libraries raise of its files, it is the folder that is refused."""

    @wraps(check)
    def _checked(path: Path) -> Facts:
        try:
            return check(path)
        except (CannotTrain, MemoryError):
            raise
        except Exception as problem:
            raise CannotTrain(f"{path} can't be used as a model ({_first_line(problem)}).") from problem

    return _checked


@_foreign_folder
def check_causal_lm(path: Path) -> Facts:
    """Loads the folder once as a policy; refuses with the reason what cannot be one."""
    config = _require_causal_lm(path)
    tokenizer, model = load_tokenizer(path), load_policy(path)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise CannotTrain(f"{path}: the tokenizer has {len(tokenizer)} tokens, the model only {rows} embeddings.")
    if not tokenizer.encode("A story about a dog.", add_special_tokens=False):
        raise CannotTrain(f"{path}: the tokenizer turns text into no tokens; its files do not belong together.")
    return Facts(
        parameters=sum(p.numel() for p in model.parameters()),
        context=context_of(config),
        vocabulary=rows,
        architecture=config.architectures[0],
    )


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer, with the default chat template if it has none and a padding token in any case."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise CannotTrain(f"{path}: its tokenizer does not load ({_first_line(problem)}).") from problem
    if tokenizer.eos_token_id is None:
        raise CannotTrain(
            f"{path}: its tokenizer has no end token, so completions could never end. "
            'Set "eos_token" in tokenizer_config.json.'
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def load_policy(path: Path) -> PreTrainedModel:
    """The folder's causal language model, in fp32, on this process's device, dropout off, its adapters merged."""
    _require_causal_lm(path)
    return _load(AutoModelForCausalLM, path)


def _require_causal_lm(path: Path) -> PreTrainedConfig:
    config = _config(path)
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise CannotTrain(f"{path} is a {config.model_type} model, which writes no text: not a causal language model.")
    architecture = (config.architectures or ["model of no named architecture"])[0]
    if not architecture.endswith(("ForCausalLM", "LMHeadModel")):
        raise CannotTrain(f"{path} is a {architecture}, not a causal language model.")
    return config


class RewardModel(nn.Module):
    """A language model's body with a scalar head: the score is read at the last real token, a bias added."""

    def __init__(self, classifier: PreTrainedModel) -> None:
        super().__init__()
        self.classifier = classifier
        self.bias = float(getattr(classifier.config, "reward_bias", 0.0))

    @property
    def body(self) -> PreTrainedModel:
        return getattr(self.classifier, self.classifier.base_model_prefix)

    @property
    def head(self) -> nn.Linear:
        return self.classifier.score

    def token_scores(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The score that each token would give if it were the last: (B, T) -> (B, T)."""
        return self.head(self._hidden(input_ids, attention_mask)).squeeze(-1).float() + self.bias

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Scores (B,) of whole conversations (B, T), padded on either side."""
        hidden = take_last(self._hidden(input_ids, attention_mask), attention_mask)  # (B, D)
        return self.head(hidden).squeeze(-1).float() + self.bias

    def score_completions(self, prompts: Sequence[list[int]], completions: Sequence[list[list[int]]]) -> Tensor:
        """Scores (N,) of every prompt's completions, in order, each prompt encoded once for all of its own."""
        if not shares_prefix(self.body.config):
            rows = [p + c for p, own in zip(prompts, completions, strict=True) for c in own]
            return RewardModel.forward(self, *self._padded(rows))
        return self.head(last_hidden(self.body, prompts, completions)).squeeze(-1).float() + self.bias

    def _hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = position_ids(attention_mask)
        return self.body(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=places, use_cache=False
        ).last_hidden_state

    def _padded(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        ids, mask = pad(rows, value=self.classifier.config.pad_token_id or 0)
        return ids.to(self.body.device), mask.to(self.body.device)


def new_reward_model(base: Path, *, pad_token_id: int) -> RewardModel:
    """A policy's body with a fresh head drawn from N(0, 1 / (d + 1)), as in Stiennon et al., appendix B.1."""
    _require_causal_lm(base)
    classifier = _load(AutoModelForSequenceClassification, base, new="score", num_labels=1)
    head = classifier.score
    nn.init.normal_(head.weight, std=(head.in_features + 1) ** -0.5)
    classifier.config.pad_token_id = pad_token_id
    classifier.config.reward_bias = 0.0
    return RewardModel(classifier)


def load_reward_model(path: Path, *, merge: bool = True) -> RewardModel:
    """A reward model as `save_reward_model` wrote it, its bias with it, on this process's device, dropout off.

    Without `merge` the adapters that it may have been saved with stay adapters, on weights that do not train.
    """
    architecture = (_config(path).architectures or ["?"])[0]
    if not architecture.endswith("ForSequenceClassification"):
        raise CannotTrain(f"{path} is a {architecture}, not a reward model.")
    return RewardModel(_load(AutoModelForSequenceClassification, path, merge=merge, num_labels=1))


@_foreign_folder
def check_classifier(path: Path) -> Facts:
    """Loads the folder once as a classifier of texts; refuses with the reason what cannot be one."""
    model, tokenizer = load_classifier(path)
    if not tokenizer.encode("A story about a dog."):
        raise CannotTrain(f"{path}: the tokenizer turns text into no tokens; its files do not belong together.")
    try:
        with torch.no_grad():
            model(**tokenizer(["A dog.", "A story about a dog."], padding=True, return_tensors="pt").to(model.device))
    except (ValueError, RuntimeError, IndexError) as problem:
        raise CannotTrain(f"{path} gives two texts at once no labels ({_first_line(problem)}).") from problem
    return Facts(
        parameters=sum(p.numel() for p in model.parameters()),
        context=context_of(model.config),
        vocabulary=model.get_input_embeddings().weight.shape[0],
        architecture=model.config.architectures[0],
    )


def load_classifier(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model that gives a whole text labels, with its tokenizer; it need not be a language model."""
    architecture = (_config(path).architectures or ["model of no named architecture"])[0]
    if not architecture.endswith("ForSequenceClassification"):
        raise CannotTrain(f"{path} is a {architecture}, which gives texts no labels: not a text classifier.")
    model = _load(AutoModelForSequenceClassification, path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise CannotTrain(f"{path}: its tokenizer does not load ({_first_line(problem)}).") from problem
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, *, card: str) -> None:
    """Writes the folder that `AutoModelForCausalLM` loads, whole or not at all."""
    model.config.pad_token_id = tokenizer.pad_token_id
    _save(model, tokenizer, out, card)


def save_reward_model(model: RewardModel, tokenizer: PreTrainedTokenizerBase, out: Path, *, card: str) -> None:
    """Writes the folder that `AutoModelForSequenceClassification(num_labels=1)` loads, its bias in the config."""
    model.classifier.config.pad_token_id = tokenizer.pad_token_id
    model.classifier.config.reward_bias = model.bias
    _save(model.classifier, tokenizer, out, card)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, card: str) -> None:
    """Adapters that were not merged are saved as such, beside the weights that they were trained on."""
    adapter = detach_lora(model)
    if not is_main():
        return
    with written_beside(out) as partial:
        if adapter is not None:
            save_adapter(adapter, partial / ADAPTER)
            card += _UNMERGED
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / "README.md").write_text(card)


def _config(path: Path) -> PreTrainedConfig:
    """The folder's config, after the folder itself was found to be one that may be loaded."""
    file = Path(path) / "config.json"
    if not file.is_file():
        raise CannotTrain(f"{path} is not a model folder: it has no config.json.")
    try:
        facts = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as problem:
        raise CannotTrain(f"{file} is not JSON ({_first_line(problem)}).") from problem
    if not isinstance(facts, dict):
        raise CannotTrain(f"{file} holds no settings.")
    _refuse_pickle(path)
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        remote = " It wants to run its own code, which Touchstone never does." if "auto_map" in facts else ""
        raise CannotTrain(f"{file} is of no known architecture ({_first_line(problem)}).{remote}") from problem


def _refuse_pickle(path: Path) -> None:
    if any(Path(path).glob("*.safetensors")):
        return
    if any(file for pattern in _PICKLES for file in Path(path).glob(pattern)):
        raise CannotTrain(
            f"{path} keeps its weights as pickle, which can run code when it is opened. "
            "Only safetensors are loaded; convert it where you trust it, with save_pretrained."
        )
    raise CannotTrain(f"{path} has no weights (*.safetensors).")


def _load(kind: type, path: Path, *, new: str = "", merge: bool = True, **options: object) -> PreTrainedModel:
    """Every weight in fp32 from safetensors; a weight that is missing or of the wrong shape is an error.

    `new` starts the names of weights that the folder may lack because they are made here.
    """
    try:
        model, report = kind.from_pretrained(
            path, trust_remote_code=False, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True, ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as problem:
        raise CannotTrain(f"{path} does not load ({_first_line(problem)}).") from problem
    lacking = [name for name in report["missing_keys"] if not (new and name.startswith(new))]
    if lacking or report["mismatched_keys"]:
        wrong = sorted([*lacking, *(str(key[0]) for key in report["mismatched_keys"])])
        raise CannotTrain(f"{path}: {len(wrong)} of its weights are missing or of another shape, such as {wrong[0]}.")
    # Weights mapped from a file lie wherever the file has them, and how arithmetic rounds depends on that alignment.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    fuse(model)
    multiply_by_onednn(model)
    if (Path(path) / ADAPTER).is_dir():
        load_adapter(model, Path(path) / ADAPTER)
        if merge:
            merge_lora(model)
    return model.to(device()).eval()


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
