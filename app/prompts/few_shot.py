"""Few-shot prompts: an instruction and K examples make K prompts (section 3.2 of the paper)."""

from collections.abc import Sequence

FEWEST_EXAMPLES = 2


def few_shot_texts(instruction: str, examples: Sequence[tuple[str, str]]) -> list[str]:
    """Each example's query is left open once, the others shown before it with their answers."""
    texts = []
    for left_open, (query, _) in enumerate(examples):
        shown = [f"{query}\n{answer}" for place, (query, answer) in enumerate(examples) if place != left_open]
        texts.append("\n\n".join([*filter(None, [instruction]), *shown, query]))
    return texts
