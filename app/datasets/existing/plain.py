"""What a row of someone else's file says of one prompt, in one form; and its prompts, whatever way they are written."""

import re
from dataclasses import dataclass, field
from typing import Any

from app.prompts.schemas import LONGEST_SOURCE
from app.prompts.turns import ROLES, SPLITS
from app.prompts.turns import NotThisShape as NotThisShape
from app.prompts.turns import Turn as Turn
from app.prompts.turns import conversation_of as conversation_of
from app.prompts.turns import text_of as text_of
from app.prompts.turns import turns_of as turns_of

Values = dict[str, Any]

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


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
    note: str = ""
    all_bad: bool = False  # none is good enough to use, whatever their order


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


def transcript_of(text: str) -> list[Turn]:
    r"""The turns of a text such as `\n\nHuman: ...\n\nAssistant: ...`."""
    pieces = _SPEAKER.split("\n\n" + text.lstrip())
    turns = zip(pieces[1::2], pieces[2::2], strict=True)
    return [{"role": ROLES[speaker.lower()], "content": said.removeprefix(" ")} for speaker, said in turns]


def completion_of(value: Any, name: str) -> str:
    """A completion that was judged, exactly as it was: a model may have said nothing."""
    if not isinstance(value, str):
        raise NotThisShape(f"`{name}` is not text")
    return value


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
    known["split"] = SPLITS.get(str(values.get("split")).lower())
    if isinstance(known["source"], str):
        known["source"] = known["source"][:LONGEST_SOURCE]
    return {name: str(value) for name, value in known.items() if isinstance(value, str | int) and value != ""}
