"""PPO's episodes from sampling workers: a trainer publishes its policy, asks for shares and waits for their answers.

Which version of the policy draws an iteration is settled by the settings alone: with max_staleness n it is the one n
iterations older, so that n iterations are drawn ahead while the trainer learns. So a run's result does not depend on
how many workers there are, which of them dies, or whether the trainer has to draw a share itself. A version is kept as
long as iterations after the newest checkpoint may need it.
"""

import json
import os
import time
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from app.runs.ppo_config import PpoConfig
from workers.training.checkpoints import complete_checkpoints, trainable
from workers.training.ppo_networks import other_weights
from workers.training.ppo_shares import PROMPTS, Share, draw_share, unpacked, weights_of
from workers.training.processes import from_main, is_main
from workers.training.rollout import Decoding, Drawn

LOOK_EVERY = 0.1  # seconds between two looks for an answer
ASKED = 2  # times for the same share, until the trainer draws it

Episodes = tuple[list[Drawn], list[int]]  # what was drawn, and the finished iterations of the policy that drew each


class Word(StrEnum):
    """What became of a share."""

    WAIT = "wait"
    DRAWN = "drawn"  # its answer lies in the folder
    YOURS = "yours"  # nobody draws it: the trainer is to
    STOP = "stop"  # the caller wants the run to stop


class Desk(Protocol):
    """Who brings shares to sampling workers, and answers back into the trainer's folder: the job, by the queue."""

    def put_out(self, files: list[str]) -> None:
        """These files of the folder, and no other weights, are what workers read from now on."""

    def ask(self, share: Share) -> None:
        """Let one worker draw this share; asked again, it is drawn anew."""

    def look(self, share: Share) -> Word: ...


class SamplingWorkers:
    """The trainer's view of them. Of several processes the first one speaks with the desk."""

    def __init__(
        self,
        config: PpoConfig,
        policy: PreTrainedModel,
        prompts: list[list[int]],
        decoding: Decoding,
        *,
        desk: Desk,
        folder: Path,
        checkpoints: Path,
        iteration: int,
    ) -> None:
        """`iteration` is the one that the run goes on with; what an earlier life left of later ones is no longer so."""
        self.config, self.policy, self.prompts, self.decoding = config, policy, prompts, decoding
        self.desk, self.folder, self.checkpoints = desk, folder, checkpoints
        self.total = config.episodes // config.batch_size
        self.versions: dict[int, str] = {}  # by finished iterations
        self.shares: dict[int, list[Share]] = {}  # asked for, by iteration
        self.asked_to = iteration
        if is_main():
            self._open(iteration)

    def publish(self, iteration: int) -> None:
        """Put out the policy as it is now, that has finished `iteration` of them, and ask for what it is to draw."""
        if not is_main():
            return
        version = f"{iteration:08d}-{uuid.uuid4().hex[:8]}"
        _write_weights(self.folder / weights_of(version), trainable(self.policy))
        self.versions[iteration] = version
        self._drop_unneeded(iteration)
        self.desk.put_out([PROMPTS, *map(weights_of, self.versions.values())])
        last = min(iteration + self.config.max_staleness, self.total - 1)
        for ahead in range(self.asked_to, last + 1):
            oldest = min(number for number in self.versions if number >= ahead - self.config.max_staleness)
            asked = [Share(ahead, n, self.versions[oldest]) for n in range(self.config.sampling_workers)]
            self.shares[ahead] = asked
            for share in asked:
                self.desk.ask(share)
        self.asked_to = max(self.asked_to, last + 1)

    def draw(self, iteration: int) -> Episodes | None:
        """An iteration's episodes in their order. None: the caller wants the run to stop."""
        return from_main(lambda: self._collect(iteration))

    def _collect(self, iteration: int) -> Episodes | None:
        drawn: list[Drawn] = [Drawn()] * self.config.batch_size
        versions = [0] * self.config.batch_size
        for share in self.shares.pop(iteration):
            own = self._wait_for(share, now=iteration)
            if own is None:
                return None
            places = slice(share.number, None, self.config.sampling_workers)
            drawn[places], versions[places] = own, [share.drawn_by] * len(own)
        return drawn, versions

    def _wait_for(self, share: Share, *, now: int) -> list[Drawn] | None:
        assert now - self.config.max_staleness <= share.drawn_by <= now, f"{share} is not for a policy of {now}"
        for asked in range(1, ASKED + 1):
            word = self.desk.look(share)
            while word is Word.WAIT:
                time.sleep(LOOK_EVERY)
                word = self.desk.look(share)
            if word is Word.STOP:
                return None
            if word is Word.YOURS:
                break
            answer = self.folder / share.answer
            own = unpacked(answer, share, config=self.config)
            answer.unlink(missing_ok=True)
            if own is not None:
                return own
            if asked < ASKED:
                self.desk.ask(share)
        return self._draw_here(share, now=now)

    def _draw_here(self, share: Share, *, now: int) -> list[Drawn]:
        """The share as a sampling worker would have drawn it."""
        weights: dict[str, Tensor] = {}
        if share.drawn_by != now:
            device = self.policy.device
            weights = {name: t.to(device) for name, t in load_file(self.folder / share.weights).items()}
        with other_weights(self.policy, weights):
            return draw_share(self.policy, self.prompts, share, config=self.config, decoding=self.decoding)

    def _open(self, iteration: int) -> None:
        """The folder as this life starts with it: the prompts, and the versions that the checkpoint has use for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.iterdir():
            _, _, version = file.stem.partition("policy-")
            number = int(version.split("-")[0]) if version and file.suffix == ".safetensors" else iteration
            if number < iteration:
                self.versions[number] = version
            else:
                file.unlink()
        self._drop_unneeded(iteration)
        _write_whole(self.folder / PROMPTS, json.dumps(self.prompts).encode())

    def _drop_unneeded(self, iteration: int) -> None:
        """Only what this iteration and later ones need, and those after the newest checkpoint, stays."""
        saved = complete_checkpoints(self.checkpoints)
        resumed = int(saved[-1].name.removeprefix("step-")) if saved else iteration
        oldest = self.config.max_staleness
        for number, version in list(self.versions.items()):
            if number < iteration - oldest and not resumed - oldest <= number < resumed:
                (self.folder / weights_of(version)).unlink(missing_ok=True)
                del self.versions[number]


def _write_weights(file: Path, weights: dict[str, Tensor]) -> None:
    beside = file.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, beside)
    _put_in_place(beside, file)


def _write_whole(file: Path, content: bytes) -> None:
    beside = file.with_suffix(".partial")
    beside.write_bytes(content)
    _put_in_place(beside, file)


def _put_in_place(beside: Path, file: Path) -> None:
    """Whole or not at all, also after a power cut."""
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.rename(file)
