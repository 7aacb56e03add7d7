"""A run's figures once more as TensorBoard's files, for those who watch runs of several programs in one place.

The database has the truth. What goes wrong here is said once in the run's log, and the run goes on.
"""

import json
import logging
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.config import get_settings
from app.projects.models import Project
from app.runs.models import Run
from workers.jobs.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)


class Board:
    """Where a run's steps are written; without TOUCHSTONE_TENSORBOARD_DIR it does nothing. `say` tells the run's admin
    what went wrong."""

    def __init__(self, run: Run, say: "Callable[[str], None]") -> None:
        self._run, self._say = run, say
        self._root = get_settings().tensorboard_dir
        self._writer: Any = None

    def add(self, step: int, metrics: "Mapping[str, float]") -> None:
        if self._root is None:
            return
        try:
            if self._writer is None:
                self._writer = self._open(self._root, step)
            self._writer.write(_scalars(step, metrics))
            self._writer.flush()
        except Exception as error:  # any of a library's, or of a disk's: no run ends because of its copy
            logger.warning("run %s is no longer copied to TensorBoard", self._run.id, exc_info=error)
            self._root = None
            self.close()
            self._say(f"TensorBoard's files get no more of this run, which goes on without ({_in_words(error)}).")

    def close(self) -> None:
        """Each step was flushed as it came, so what goes wrong now costs nothing, and never a run its outcome."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except Exception as error:
            logger.warning("run %s: TensorBoard's file could not be closed", self._run.id, exc_info=error)

    def _open(self, root: Path, step: int) -> Any:
        """A run that goes on after a stop or a kill continues its curves: what was written from this step on goes.

        The file is written here and now. SummaryWriter's thread dies of a full disk, and the queue before it then
        holds the run up for good.
        """
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import text

        run = self._run
        project = patiently(lambda session: session.get_one(Project, run.project_id).slug)
        name = re.sub(r"[^\w-]+", "_", run.name).strip("_")[:60] or run.kind.value
        folder = root / project / f"{name}-{str(run.id)[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        at, before = time.time(), len(list(folder.iterdir()))  # several in a second are read in their order too
        writer = RecordWriter(str(folder / f"events.out.tfevents.{int(at)}.{socket.gethostname()}.{before:04d}"))
        config = text("config", f"```json\n{json.dumps(run.config, indent=1)}\n```")
        for event in (
            Event(wall_time=at, file_version="brain.Event:2"),
            Event(wall_time=at, step=step, session_log=SessionLog(status=SessionLog.START)),
            Event(wall_time=at, step=step, summary=config),
        ):
            writer.write(event.SerializeToString())
        return writer


def _scalars(step: int, metrics: "Mapping[str, float]") -> bytes:
    """One event with all of a step's figures."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import scalar

    values = [value for name, figure in metrics.items() for value in scalar(name, figure).value]
    written: bytes = Event(wall_time=time.time(), step=step, summary=Summary(value=values)).SerializeToString()
    return written


def _in_words(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "this worker has no tensorboardX: install Touchstone with the extra `tensorboard`"
    return str(error) or type(error).__name__
