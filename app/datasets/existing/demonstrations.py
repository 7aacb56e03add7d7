"""Demonstrations as public datasets have them: a prompt and its completion, or a conversation that ends with it."""

from collections.abc import Iterator
from typing import Any

from app.datasets.existing.plain import (
    Labeled,
    NotThisShape,
    Turn,
    Values,
    Written,
    about,
    answer_of,
    apart,
    conversation_of,
    turns_of,
)

PROMPTS = ("prompt", "instruction", "question")
COMPLETIONS = ("completion", "response", "output", "answer")


def conversations(values: Values) -> Iterator[Labeled]:
    """TRL's `messages`, or ShareGPT's `conversations`: the last turn is the demonstration."""
    name = "messages" if "messages" in values else "conversations"
    messages, text = apart(conversation_of(values[name], name), name)
    yield _labeled(messages, text, values)


def completed(values: Values) -> Iterator[Labeled]:
    """A prompt and its completion, whatever the two are called; Alpaca's `input` stands below its `instruction`."""
    prompt, completion = _first(values, PROMPTS), _first(values, COMPLETIONS)
    messages = turns_of(values[prompt], prompt)
    if isinstance(more := values.get("input"), str) and more.strip():
        messages = [*messages[:-1], {**messages[-1], "content": f"{messages[-1]['content']}\n\n{more.strip()}"}]
    given = values[completion]
    if isinstance(given, str):
        given = [{"role": "assistant", "content": given}]
    yield _labeled(messages, answer_of(conversation_of(given, completion), completion), values)


def _labeled(messages: list[Turn], text: str, values: Values) -> Labeled:
    labeler: Any = values.get("labeler") or values.get("annotator") or ""
    if not text.strip():
        raise NotThisShape("its demonstration is empty")
    return Labeled(messages, written=(Written(text, str(labeler)),), about=about(values))


def _first(values: Values, names: tuple[str, ...]) -> str:
    for name in names:
        if values.get(name):
            return name
    raise NotThisShape(f"it has none of {', '.join(f'`{name}`' for name in names)}")
