"""What fits a model: lengths checked before the work starts, with the reason and the cure in words."""

from collections.abc import Sequence

from app.runs.configs import RunConfig
from workers.training.loop import CannotTrain


def require_room(config: RunConfig, context: int) -> None:
    """The longest prompt with the longest completion and its end token must fit what the model reads."""
    prompt, completion = config.max_prompt_tokens, config.max_completion_tokens
    if prompt + completion + 1 <= context:
        return
    raise CannotTrain(
        f"max_prompt_tokens {prompt} and max_completion_tokens {completion} with the end token make "
        f"{prompt + completion + 1} tokens, but this model reads {context}. "
        f"Set the two to {context - 1} together at most."
    )


def fits(config: RunConfig, prompt: Sequence[int], completion: Sequence[int]) -> bool:
    """Whether neither is longer than the config lets through; a completion's end token comes on top."""
    return len(prompt) <= config.max_prompt_tokens and len(completion) <= config.max_completion_tokens + 1


def refuse_if_most_left_out(
    config: RunConfig, lengths: Sequence[tuple[int, int]], left_out: int, *, what: str, context: int
) -> None:
    """A run whose limits leave out more than half of its data would not train on what the admin means."""
    if left_out * 2 <= len(lengths):
        return
    prompt, completion = max(p for p, _ in lengths), max(c for _, c in lengths) - 1
    raise CannotTrain(
        f"{left_out} of {len(lengths)} {what} are longer than max_prompt_tokens {config.max_prompt_tokens} or "
        f"max_completion_tokens {config.max_completion_tokens}. All would fit with {prompt} and {completion}; "
        f"this model reads {context} tokens, so the two may be {context - 1} together. "
        "Raise them, or use shorter examples or a model with a longer context."
    )
