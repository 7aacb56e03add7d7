"""What is asked about one completion, as HTML: its rank, its rating, its flags, a note.

Half of the time of a page went into these forms, which are the same on every page until something is typed.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from app.core.pages import environment
from app.labeling.bench import Bench
from app.labeling.questions import Questions


@lru_cache(maxsize=1024)
def ranks(letter: str, count: int, rank: int | None) -> Markup:
    """The places that a completion may have among `count`, `rank` being the one it has."""
    return _made("ranks", letter, count, rank)


def judgment(bench: Bench, letter: str, rating: Mapping[str, Any]) -> Markup:
    """What is asked: the scales, the flags and the note, with what was typed before."""
    return _made("judgment", letter, bench.questions, rating) if rating else _blank_judgment(letter, bench.questions)


@lru_cache(maxsize=512)
def _blank_judgment(letter: str, questions: Questions) -> Markup:
    return _made("judgment", letter, questions, {})


def _made(name: str, *values: Any) -> Markup:
    made: Markup = getattr(environment.get_template("labeling/_card.html").module, name)(*values)
    return made
