"""A run's figures once more as TensorBoard's files, for those who watch runs of several programs in one place.

The database has the truth. What goes wrong here is said once in the run's log, and the run goes on.
"""

import json
import logging
import re
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
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, global_step=step)
            self._writer.flush()
        except Exception as error:  # any of a library's, or of a disk's: no run ends because of its copy
            logger.warning("run %s is no longer copied to TensorBoard", self._run.id, exc_info=error)
            self._say(f"TensorBoard's files get no more of this run, which goes on without ({_in_words(error)}).")
            self._root = None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, root: Path, step: int) -> Any:
        """A run that goes on after a stop or a kill continues its curves: what was written from this step on goes."""
        from tensorboardX import SummaryWriter

        run = self._run
        project = patiently(lambda session: session.get_one(Project, run.project_id).slug)
        name = re.sub(r"[^\w-]+", "_", run.name).strip("_")[:60] or run.kind.value
        folder = root / project / f"{name}-{str(run.id)[:8]}"
        writer = SummaryWriter(str(folder), purge_step=step, write_to_disk=True)
        writer.add_text("config", f"```json\n{json.dumps(run.config, indent=1)}\n```", step)
        return writer


def _in_words(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "this worker has no tensorboardX: install Touchstone with the extra `tensorboard`"
    return str(error) or type(error).__name__
