"""A reward model that reads what another model wrote, as text, with its own tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from app.datasets.examples import Messages
from workers.training.batching import encode_completion, encode_prompt, micro_batches
from workers.training.loop import CannotTrain
from workers.training.models import RewardModel, context_of, load_reward_model, load_tokenizer

AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Judge:
    model: RewardModel
    tokenizer: PreTrainedTokenizerBase
    name: str

    @torch.no_grad()
    def rewards(self, messages: Messages, completions: Sequence[str], *, cut: bool = False) -> list[float]:
        """The score of each completion, its end token set whether or not it ended by itself, as in training.

        What is too long for the reward model is refused, or read as far as it can be with `cut`: a text may take more
        tokens than it was drawn with.
        """
        prompt = encode_prompt(self.tokenizer, messages)
        encoded = [encode_completion(self.tokenizer, text) for text in completions]
        if cut:
            room = max(1, context_of(self.model.body.config) - len(prompt))
            encoded = [completion[:room] for completion in encoded]
        self._refuse_too_long(len(prompt) + max(map(len, encoded)))
        scores: list[float] = []
        for piece in micro_batches(range(len(encoded)), AT_ONCE):
            scores += self.model.score_completions([prompt], [[encoded[i] for i in piece]]).tolist()
        return scores

    def check_room(self, prompts: Sequence[Messages], *, max_completion_tokens: int) -> None:
        """Refuse, before anything is drawn, what this model could not read to its end."""
        longest = max(len(encode_prompt(self.tokenizer, messages)) for messages in prompts)
        self._refuse_too_long(longest + max_completion_tokens)

    def _refuse_too_long(self, tokens: int) -> None:
        context = context_of(self.model.body.config)
        if tokens > context:
            raise CannotTrain(
                f"A prompt and its completion are {tokens} tokens for the reward model {self.name}, which reads "
                f"{context} at most. Lower max_prompt_tokens or max_completion_tokens, or choose another reward model."
            )


def load_judge(path: Path) -> Judge:
    return Judge(load_reward_model(path), load_tokenizer(path), path.name)
