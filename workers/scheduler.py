"""The scheduler: sweeps every few seconds, whatever the workers are busy with. `python -m workers.scheduler`

A process of our own rather than Celery's beat: beat would send the sweep to a worker, where it waits behind a run that
takes hours, and keeps a schedule file that a second signal at the wrong moment leaves closed under it.
"""

import signal
import threading

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core.config import get_settings
from workers.jobs.sweep import sweep_once


def main() -> None:
    """Sweep until asked to stop; the sweep under way is finished first."""
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    seconds = get_settings().sweep_seconds
    while not asked_to_stop.wait(seconds):
        sweep_once()


if __name__ == "__main__":
    main()
