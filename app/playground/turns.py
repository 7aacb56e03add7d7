"""The turns of a prompt that is being typed: more of them, fewer, or going on behind an answer."""

from collections.abc import Sequence

from app.core.errors import Invalid
from app.playground.board import Board
from app.playground.questions import EMPTY_TURN, MOST_TURNS

Turns = Sequence[dict[str, str]]


def add_turn(turns: Turns) -> list[dict[str, str]]:
    """With one more, by whoever would speak next."""
    if len(turns) >= MOST_TURNS:
        raise Invalid(f"There can be {MOST_TURNS} turns at most.")
    role = "assistant" if turns and turns[-1]["role"] == "user" else "user"
    return [*turns, {"role": role, "content": ""}]


def remove_turn(turns: Turns, number: int) -> list[dict[str, str]]:
    """Without that one, counted from 1; one always stays."""
    return [turn for place, turn in enumerate(turns, 1) if place != number] or [EMPTY_TURN]


def go_on(asked: Turns, board: Board, side: int) -> list[dict[str, str]]:
    """The prompt that was asked, that side's answer, and room for what the person says next."""
    if side >= len(board.sides) or not board.sides[side].text:
        raise Invalid("There is no answer on that side to go on from.")
    return [*asked, {"role": "assistant", "content": board.sides[side].text}, EMPTY_TURN]
