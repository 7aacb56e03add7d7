"""Texts, names and conversations by hypothesis: all that a database can keep, and what formats stumble over."""

from typing import Any

from hypothesis import strategies as st

from app.core.storable import NOT_STORABLE
from app.prompts.models import Split, UseCase

PIECES = [
    *("=1+1", "'=1", "''+", "-", "@", "\t", "\r", "\n", "\r\n", "\n\n", '"', '""', "'", ",", ";", "\\", "\\u0000", " "),
    *("[1, 2]", "[", "{", '{"a": 1}', "null", "NaN", "---", "Human:", "Assistant:", "User: ", "TL;DR:", "POST: "),
    *("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1f", "\ufeff", "\u202eright to left", "שלום", "مرحبا"),
    *("😀", "👩‍👩‍👧", "e\u0301", "\U0010ffff", "\ufffd", "\xa0", "PAR1", "\x1f\x8b", "x" * 5000),
]
_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
written = st.lists(st.sampled_from(PIECES) | st.text(_characters, max_size=8), max_size=5).map("".join)
"""Whatever a model may have written, nothing included."""
asked = written.map(str.strip).filter(bool)
"""What a prompt, a turn or a demonstration says: an import leaves no space around it."""
named = asked.map(lambda text: text[:60].strip()).filter(bool)
use_cases = st.sampled_from([each.value for each in UseCase])
splits = st.sampled_from([each.value for each in Split])


def turns(role: str) -> st.SearchStrategy[dict[str, str]]:
    return st.builds(lambda text: {"role": role, "content": text}, asked)


@st.composite
def conversations(draw: st.DrawFn, *, system: bool = True) -> list[dict[str, str]]:
    """Turns that end with the user's."""
    opening = draw(st.lists(turns("system"), max_size=1)) if system else []
    before = draw(st.lists(st.tuples(turns("user"), turns("assistant")), max_size=2))
    return [*opening, *(turn for both in before for turn in both), draw(turns("user"))]


def can_be_kept(value: Any) -> bool:
    return NOT_STORABLE.search(str(value)) is None
