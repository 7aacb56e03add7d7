"""What a row of someone else's file says of one prompt, in one form; and its prompts, whatever way they are written."""

import re
from dataclasses import dataclass, field
from typing import Any

Turn = dict[str, str]
Values = dict[str, Any]

_ROLES = {
    "system": "system", "user": "user", "human": "user", "prompter": "user", "instruction": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatbot": "assistant",
}  # fmt: skip
_SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test"}
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


class NotThisShape(ValueError):
    """A row is not what its shape says; the message is for the person whose file it is."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion that was judged."""

    text: str
    model: str = ""  # who wrote it, as the file says
    score: float | None = None  # what the file's ranks were made from, where it has no ranks


@dataclass(frozen=True, slots=True)
class Order:
    """One labeler's ranks of the candidates: 1 is best, equal ranks are a tie, None was not ranked."""

    ranks: tuple[int | None, ...]
    labeler: str = ""  # as the file calls them; empty: it does not say


@dataclass(frozen=True, slots=True)
class Written:
    """A demonstration."""

    text: str
    labeler: str = ""


@dataclass(frozen=True, slots=True)
class Labeled:
    """All that is said of one prompt."""

    messages: list[Turn]
    candidates: tuple[Candidate, ...] = ()
    orders: tuple[Order, ...] = ()
    written: tuple[Written, ...] = ()
    about: Values = field(default_factory=dict)  # of the prompt: source, organisation, split, use_case, language


def text_of(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise NotThisShape(f"`{name}` is not text")
    if not value.strip():
        raise NotThisShape(f"`{name}` is empty")
    return value.strip()


def turns_of(value: Any, name: str) -> list[Turn]:
    """A conversation: a text, a list of messages, or a list of [role, text]."""
    if isinstance(value, str):
        return [{"role": "user", "content": text_of(value, name)}]
    if not isinstance(value, list) or not value:
        raise NotThisShape(f"`{name}` is neither text nor a list of messages")
    return [_turn_of(each, name) for each in value]


def _turn_of(value: Any, name: str) -> Turn:
    if isinstance(value, dict):
        role, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
    elif isinstance(value, list) and len(value) == 2:
        role, content = value
    else:
        raise NotThisShape(f"a turn of `{name}` is neither a message nor a [role, text]")
    if str(role).lower() not in _ROLES:
        raise NotThisShape(f"a turn of `{name}` is by {role!r}, who is neither system, user nor assistant")
    return {"role": _ROLES[str(role).lower()], "content": text_of(content, name)}


def transcript_of(text: str) -> list[Turn]:
    r"""The turns of a text such as `\n\nHuman: ...\n\nAssistant: ...`."""
    pieces = _SPEAKER.split("\n\n" + text.strip())
    turns = zip(pieces[1::2], pieces[2::2], strict=True)
    return [{"role": _ROLES[speaker.lower()], "content": said.strip()} for speaker, said in turns]


def answer_of(turns: list[Turn], name: str) -> str:
    """The one answer that these turns are."""
    if len(turns) != 1 or turns[0]["role"] != "assistant":
        raise NotThisShape(f"`{name}` is not one answer of the assistant's")
    return turns[0]["content"]


def apart(conversation: list[Turn], name: str) -> tuple[list[Turn], str]:
    """A conversation's prompt and its last answer."""
    return conversation[:-1], answer_of(conversation[-1:], name)


def ranks_of_scores(scores: list[float | None]) -> tuple[int | None, ...]:
    """The highest is 1; equal ones tie, as in a race; without a score, no rank."""
    known = [score for score in scores if score is not None]
    return tuple(None if score is None else 1 + sum(other > score for other in known) for score in scores)


def about(values: Values) -> Values:
    """What a row says of where its prompt is from, under the names that our own import knows."""
    known = {name: values.get(name) for name in ("source", "use_case", "language", "user", "organisation")}
    known["organisation"] = known["organisation"] or values.get("group")
    known["split"] = _SPLITS.get(str(values.get("split")).lower())
    return {name: str(value)[:200] for name, value in known.items() if isinstance(value, str | int) and value != ""}
