"""An iteration's episodes in shares, each drawn by whoever has the share, to the same answer.

A share is every n-th episode of an iteration and the version of the policy that is to draw it. What is drawn depends on
the seed, the iteration, the prompts and that version's weights, so a share that is drawn twice, or by another worker,
or by the trainer itself, comes out the same. Weights, prompts and answers are files in the run's folder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.runs.newer_configs import RlooConfig
from app.runs.ppo_config import PpoConfig
from workers.training.adapters import add_lora
from workers.training.checkpoints import restore_module
from workers.training.loop import ALL_THREADS
from workers.training.models import load_policy, load_tokenizer
from workers.training.ppo_data import visits
from workers.training.ppo_experience import draw_episodes
from workers.training.rollout import Decoding, Drawn, stop_ids, uniform_numbers

PROMPTS = "prompts.json"
ROWS_IN_FLIGHT = 64  # completions drawn side by side: reading a model's weights costs the same for one as for many


@dataclass(frozen=True, slots=True)
class Share:
    """Episodes `number`, `number` + n, ... of an iteration, of n shares."""

    iteration: int
    number: int
    version: str  # of the policy: the iterations that it had finished, and a word that these weights alone have

    @property
    def drawn_by(self) -> int:
        """How many iterations the policy that draws it had finished."""
        return int(self.version.split("-")[0])

    @property
    def answer(self) -> str:
        """The file with its episodes."""
        return f"drawn-{self.iteration:08d}-{self.number:04d}-{self.version}.safetensors"

    @property
    def weights(self) -> str:
        return weights_of(self.version)


def weights_of(version: str) -> str:
    """The file with this version's weights."""
    return f"policy-{version}.safetensors"


def decoding_of(
    config: PpoConfig | RlooConfig, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, copies: int = 1
) -> Decoding:
    """How episodes are drawn, `copies` of them for a prompt."""
    return Decoding(
        max_new_tokens=config.max_completion_tokens,
        eos_ids=stop_ids(policy, tokenizer),
        temperature=config.temperature,
        rows=max(config.micro_batch_size, copies, ROWS_IN_FLIGHT),
    )


def visited(config: PpoConfig, prompts: Sequence[list[int]], iteration: int) -> list[list[int]]:
    """The prompts of an iteration's episodes."""
    chosen = visits(len(prompts), iteration * config.batch_size, config.batch_size, seed=config.seed)
    return [prompts[i] for i in chosen]


def chances(config: PpoConfig, iteration: int) -> Tensor:
    """The numbers (N, 1, T) that decide what is drawn in an iteration."""
    shape = (config.batch_size, 1, config.max_completion_tokens)
    return uniform_numbers(config.seed, "episodes", iteration, shape=shape)


def draw_share(
    policy: PreTrainedModel, prompts: Sequence[list[int]], share: Share, *, config: PpoConfig, decoding: Decoding
) -> list[Drawn]:
    """The share's episodes, with the weights that `policy` has now."""
    own = slice(share.number, None, config.sampling_workers)
    batch, uniforms = visited(config, prompts, share.iteration)[own], chances(config, share.iteration)[own]
    return draw_episodes(policy, batch, uniforms, config=config, decoding=decoding)


class Sampler:
    """The policy's twin in a sampling worker, which takes on the weights of one version after the other."""

    def __init__(self, config: PpoConfig, policy: Path, prompts: list[list[int]]) -> None:
        torch.set_num_threads(config.threads or ALL_THREADS)
        self.config, self.prompts = config, prompts
        self.policy = load_policy(policy)
        if config.lora_rank:
            add_lora(self.policy, config.lora_rank)
        self.policy.eval()
        self.decoding = decoding_of(config, self.policy, load_tokenizer(policy))
        self.version = ""

    def take_on(self, version: str, weights: Path) -> None:
        if version != self.version:
            restore_module(self.policy, load_file(weights))
            self.version = version

    def draw(self, share: Share) -> bytes:
        """The share's answer as a file holds it."""
        assert share.version == self.version, f"the share is for {share.version}, the weights are of {self.version}"
        drawn = draw_share(self.policy, self.prompts, share, config=self.config, decoding=self.decoding)
        return packed(drawn, share.version)


def packed(drawn: Sequence[Drawn], version: str) -> bytes:
    """Episodes one after the other, and the version that drew them."""
    tensors = {
        "lengths": torch.tensor([len(episode.tokens) for episode in drawn]),
        "tokens": torch.tensor([token for episode in drawn for token in episode.tokens]),
        "logprobs": torch.tensor([logprob for episode in drawn for logprob in episode.logprobs]),  # were fp32: exact
        "ended": torch.tensor([episode.ended for episode in drawn]),
    }
    return save(tensors, metadata={"version": version})


def unpacked(answer: Path, share: Share, *, config: PpoConfig) -> list[Drawn] | None:
    """The share's episodes. None: the file is torn, or other weights drew it than were asked to."""
    try:
        with safe_open(answer, framework="pt") as file:
            version = (file.metadata() or {}).get("version")
            lengths, tokens, logprobs, ended = (file.get_tensor(n) for n in ("lengths", "tokens", "logprobs", "ended"))
    except (OSError, SafetensorError):
        return None
    if version != share.version or len(lengths) != len(range(share.number, config.batch_size, config.sampling_workers)):
        return None
    whole = zip(tokens.split(lengths.tolist()), logprobs.split(lengths.tolist()), ended.tolist(), strict=True)
    return [Drawn(own.tolist(), noted.tolist(), is_ended) for own, noted, is_ended in whole]


def read_prompts(file: Path) -> list[list[int]]:
    prompts: list[list[int]] = json.loads(file.read_text())
    return prompts
