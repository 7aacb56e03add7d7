"""A trainer's way to the sampling workers: its shares as rows and messages, its files in the artefact store."""

import logging
import shutil
import time
import uuid
from pathlib import Path

from app.core.config import get_settings
from app.core.db import reading
from app.core.storage import get_artefacts
from app.runs import shares
from app.runs.models import SamplingShare
from app.runs.shares import Standing
from workers.jobs.claimed import Claimed
from workers.jobs.patience import patiently
from workers.training.ppo_shares import Share
from workers.training.sampling_workers import Desk, Word

logger = logging.getLogger(__name__)

START_ONE = "Start one with “touchstone worker --queue sampling”."


def key_of(run_id: uuid.UUID, file: str = "") -> str:
    """Where in the store a run's weights, prompts and answers lie."""
    return f"rollouts/{run_id}/{file}".rstrip("/")


class QueueDesk(Desk):
    """The desk of one life of a run's trainer."""

    def __init__(self, claimed: Claimed) -> None:
        self.claimed, self.run_id, self.claim = claimed, claimed.run.id, claimed.claim
        self.store = get_artefacts()
        self.folder: Path = self.store.working_folder(key_of(self.run_id))
        self.sent: set[str] = set()  # what of the folder is in a store that lies elsewhere
        self.heard_at = time.monotonic()  # a worker's last sign of life
        self.gave_up = False
        self.note = ""
        self.told: set[str] = set()  # of what broke in sampling workers
        if not self.store.is_local:
            self._take_over()

    def _take_over(self) -> None:
        """Of what an earlier life, here or on another machine, left in the store only its versions have a use."""
        for name, _ in self.store.files(key_of(self.run_id)):
            if name.startswith("policy-"):
                self.sent.add(name)
                if not (self.folder / name).exists():
                    self.store.get_files([(key_of(self.run_id, name), self.folder / name)])
            else:
                self.store.remove(key_of(self.run_id, name))

    def put_out(self, files: list[str]) -> None:
        if self.store.is_local:
            return  # the folder is the store
        for file in set(files) - self.sent:
            with (self.folder / file).open("rb") as own, self.store.writing(key_of(self.run_id, file)) as there:
                shutil.copyfileobj(own, there)
        for file in self.sent - set(files):
            self.store.remove(key_of(self.run_id, file))
        self.sent = set(files)

    def ask(self, share: Share) -> None:
        self.heard_at, self.note = time.monotonic(), ""
        patiently(
            lambda session: shares.ask(
                session, self.run_id, claim=self.claim, iteration=share.iteration, number=share.number,
                version=share.version,
            )
        )  # fmt: skip

    def look(self, share: Share) -> Word:
        """What became of it; on the way, what was lost of this run's shares is put on the queue again."""
        standing = patiently(lambda s: shares.read_standing(s, self.run_id, claim=self.claim), within=reading)
        if standing.is_stop_asked or self.claimed.pulse.is_shutting_down:
            return Word.STOP
        if standing.being_drawn:
            self.heard_at = time.monotonic()
        self._hand_on(standing)
        row = standing.share(share.iteration, share.number)
        if row is None:  # asked for by an earlier life of these processes
            self.ask(share)
            return Word.WAIT
        if row.is_drawn:
            return self._fetch(share, row)
        if row.error:
            self._warn_of(row.error)
            return Word.YOURS if patiently(lambda session: shares.withdraw(session, row.id)) else Word.WAIT
        return self._wait_or_give_up(row, standing)

    def clear_up(self) -> None:
        """The model is stored: what led to it is no longer needed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self.store.is_local:
            self.store.remove(key_of(self.run_id))

    def _hand_on(self, standing: Standing) -> None:
        for lost in standing.lost:
            if patiently(lambda session, lost=lost: shares.hand_on(session, lost)):
                self._warn(f"A sampling worker fell silent; its share of iteration {lost.iteration + 1} is handed on.")

    def _fetch(self, share: Share, row: SamplingShare) -> Word:
        """The answer, into the trainer's folder."""
        key = key_of(self.run_id, share.answer)
        if not self.store.is_local and self.store.exists(key):
            with self.store.reading(key) as there, (self.folder / share.answer).open("wb") as own:
                shutil.copyfileobj(there, own)
            self.store.remove(key)
        patiently(lambda session: shares.forget(session, row.id))
        self.heard_at = time.monotonic()
        if self.gave_up:
            self.gave_up = False
            self.claimed.log("A sampling worker answers again.")
        return Word.DRAWN

    def _wait_or_give_up(self, row: SamplingShare, standing: Standing) -> Word:
        """Nobody waits for ever: what no worker has, and none of them is at work, the trainer draws."""
        patience = get_settings().sampling_patience_seconds
        if self.gave_up and not standing.has_worker:
            patience = 0.0
        if time.monotonic() - self.heard_at < patience:
            self._tell("draws" if standing.being_drawn else "waits" if standing.has_worker else "nobody")
            return Word.WAIT
        if not patiently(lambda session: shares.withdraw(session, row.id)):
            return Word.WAIT  # one has just taken it
        if not self.gave_up:
            self._warn(
                f"No sampling worker has answered for {patience:.0f} s, so the trainer draws these episodes itself, "
                f"until one does. {START_ONE}"
            )
        self.gave_up = True
        self._tell("alone")
        return Word.YOURS

    def _tell(self, state: str) -> None:
        """What the run waits for, on its page."""
        notes = {
            "draws": "Sampling workers draw.",
            "waits": "Waits for a sampling worker that is not busy.",
            "nobody": f"Waits for a sampling worker: none is running. {START_ONE}",
            "alone": "No sampling worker answers: the trainer draws.",
        }
        if notes[state] != self.note:
            self.note = notes[state]
            self.claimed.note(self.note)

    def _warn_of(self, error: str) -> None:
        """Once for each way in which a worker breaks: it may break with every share."""
        if error not in self.told:
            self.told.add(error)
            self._warn(f"A sampling worker could not draw its share, so the trainer does. {error}")

    def _warn(self, text: str) -> None:
        logger.warning("run %s: %s", self.run_id, text)
        self.claimed.log(text, level="warning")
