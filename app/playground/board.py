"""The answers as far as they have come: what was said, put together as the page shows it."""

from dataclasses import dataclass
from enum import StrEnum

from app.playground.line import Said


class State(StrEnum):
    waiting = "waiting"
    loading = "loading"
    writing = "writing"
    done = "done"
    failed = "failed"


@dataclass(slots=True)
class Side:
    name: str
    text: str = ""
    state: State = State.waiting
    words: str = ""  # what it is at, or how it went
    reward: str = ""


@dataclass(slots=True)
class Board:
    sides: list[Side]
    words: str = ""  # the last ones, of all of it
    is_bad: bool = False
    is_over: bool = False
    place: str = "0"  # of the last word that is in here

    def take(self, place: str, said: Said) -> None:
        self.place = place
        if said["kind"] == "over":
            self.is_over, self.words, self.is_bad = True, said["words"], said["bad"]
            return
        side = self.sides[said["side"]]
        if said["kind"] == "text":
            side.text = said["text"] if said["anew"] else side.text + said["text"]
        elif said["kind"] == "reward":
            side.reward = said["words"]
        else:
            side.state, side.words = State(said["state"]), said["words"]


def board_of(names: list[str], said: list[tuple[str, Said]]) -> Board:
    board = Board([Side(name) for name in names])
    for place, each in said:
        board.take(place, each)
    return board
