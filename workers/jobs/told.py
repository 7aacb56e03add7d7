"""What a worker tells the playground's page, and a thread beside it that says it is alive and hears when to end."""

import threading
import uuid
from typing import Self

import redis

from app.playground import line
from workers.jobs.pulse import Pulse

BETWEEN_BEATS = 0.25  # seconds, within which a stop is heard


class Told:
    """The worker's end of the line for one question."""

    def __init__(self, client: redis.Redis, ask_id: uuid.UUID, pulse: Pulse) -> None:
        self.client, self.ask_id, self.pulse = client, ask_id, pulse
        self.stopped = ""  # why nothing more is to be written, in words
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="playground", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=10)

    def state(self, side: int, state: str, words: str) -> None:
        line.say(self.client, self.ask_id, {"kind": "state", "side": side, "state": state, "words": words})

    def text(self, side: int, text: str, *, anew: bool) -> None:
        line.say(self.client, self.ask_id, {"kind": "text", "side": side, "text": text, "anew": anew})

    def reward(self, side: int, words: str) -> None:
        line.say(self.client, self.ask_id, {"kind": "reward", "side": side, "words": words})

    def finish(self, words: str = "", *, is_bad: bool = False) -> None:
        line.finish(self.client, self.ask_id, words, is_bad=is_bad)

    def _beat(self) -> None:
        """With a connection of its own: the other may be in the middle of a word."""
        try:
            with line.connected() as client:
                while not self._ended.wait(BETWEEN_BEATS):
                    self.stopped = line.beat(client, self.ask_id, worker=self.pulse.name)
                    if not self.stopped and self.pulse.is_shutting_down:
                        self.stopped = "The worker was told to end. Ask again, and another one answers."
                    if self.stopped:
                        return
        except line.LineAway as error:
            self.stopped = error.message
