"""Which of the known shapes a file's rows have, and what each row then says."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.datasets.existing.demonstrations import COMPLETIONS, PROMPTS, completed, conversations
from app.datasets.existing.plain import Labeled, NotThisShape, Values
from app.datasets.existing.preferences import hh_rlhf, pairs, ranked, scored, summaries
from app.datasets.existing.tools import argilla, label_studio
from app.datasets.existing.trees import trees
from app.prompts.readers import RawRow


class Shape(StrEnum):
    pairs = "pairs"
    hh_rlhf = "hh_rlhf"
    summaries = "summaries"
    scored = "scored"
    ranked = "ranked"
    trees = "trees"
    argilla = "argilla"
    label_studio = "label_studio"
    conversations = "conversations"
    completed = "completed"


TITLES = {
    Shape.pairs: "chosen and rejected (TRL, UltraFeedback binarized)",
    Shape.hh_rlhf: "transcripts of Human and Assistant, chosen and rejected (hh-rlhf)",
    Shape.summaries: "two summaries and a choice (OpenAI's comparisons)",
    Shape.scored: "an instruction with K scored completions (UltraFeedback)",
    Shape.ranked: "K completions with ranks (our own export of whole rankings)",
    Shape.trees: "message trees with ranked replies (Open-Assistant)",
    Shape.argilla: "records with fields and responses (Argilla)",
    Shape.label_studio: "tasks with annotations (Label Studio, JSON)",
    Shape.conversations: "conversations that end with a demonstration (messages, ShareGPT)",
    Shape.completed: "a prompt and its completion (TRL, Alpaca, self-instruct)",
}
_READERS: dict[Shape, Callable[[Values], Iterator[Labeled]]] = {
    Shape.pairs: pairs,
    Shape.hh_rlhf: hh_rlhf,
    Shape.summaries: summaries,
    Shape.scored: scored,
    Shape.ranked: ranked,
    Shape.trees: trees,
    Shape.argilla: argilla,
    Shape.label_studio: label_studio,
    Shape.conversations: conversations,
    Shape.completed: completed,
}


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row as it was read: what it says, or why it can't be taken."""

    number: int
    labeled: tuple[Labeled, ...] = ()
    problem: str = ""


def shape_of(values: object) -> Shape | None:
    """The shape of a row by the names of its fields; None: none that is known."""
    if not isinstance(values, dict):
        return None
    names = set(values)
    if {"chosen", "rejected"} <= names:
        text = values["chosen"]
        is_transcript = "prompt" not in names and isinstance(text, str) and text.lstrip().startswith("Human:")
        return Shape.hh_rlhf if is_transcript else Shape.pairs
    if names & {"rankings", "ranks"} and names & {"completions", "responses"}:
        return Shape.ranked
    if {"completion", "rank", "flags"} <= names:  # our own ratings: what a model wrote is no demonstration
        return None
    for needed, shape in _BY_NAMES:
        if needed <= names:
            return shape
    if any(name.endswith(".responses") for name in names):
        return Shape.argilla
    return Shape.completed if names & set(PROMPTS) and names & set(COMPLETIONS) else None


_BY_NAMES = (
    ({"summaries", "choice"}, Shape.summaries),
    ({"instruction", "completions"}, Shape.scored),
    ({"message_tree_id", "prompt"}, Shape.trees),
    ({"fields", "responses"}, Shape.argilla),
    ({"data", "annotations"}, Shape.label_studio),
    ({"messages"}, Shape.conversations),
    ({"conversations"}, Shape.conversations),
)


def read_labels(rows: Iterable[RawRow], shape: Shape | None = None) -> Iterator[ReadRow]:
    """What every row says. Without a `shape`, each row's own is taken."""
    for raw in rows:
        if raw.problem:
            yield ReadRow(raw.number, problem=raw.problem)
            continue
        found = shape or shape_of(raw.values)
        if found is None:
            yield ReadRow(raw.number, problem=_unknown(raw.values))
            continue
        try:
            yield ReadRow(raw.number, tuple(_READERS[found](raw.values)))
        except NotThisShape as error:
            yield ReadRow(raw.number, problem=str(error))
        except (KeyError, TypeError, AttributeError) as error:
            yield ReadRow(raw.number, problem=f"is not what {TITLES[found]} has ({error!r})")


def _unknown(values: object) -> str:
    if not isinstance(values, dict):
        return "is not an object with named fields"
    return f"is of no known shape; its fields are {', '.join(sorted(map(str, values))[:12])}"
