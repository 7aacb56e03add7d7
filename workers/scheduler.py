"""The scheduler: sweeps every few seconds, whatever the workers are busy with. `python -m workers.scheduler`

A process of our own rather than Celery's beat: beat would send the sweep to a worker, where it waits behind a run that
takes hours, and keeps a schedule file that a second signal at the wrong moment leaves closed under it.
"""

import logging
import signal
import threading

from sqlalchemy.exc import DBAPIError

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core.config import get_settings
from app.core.logs import configure_logs
from app.webhooks.letters import send_due_letters
from app.webhooks.sending import send_due
from workers.jobs.sweep import sweep_once

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_TELLING = 2.0


def main() -> None:
    """Sweep until asked to stop; the sweep under way is finished first."""
    configure_logs("scheduler")
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    seconds = get_settings().sweep_seconds
    telling = threading.Thread(target=_tell, args=(asked_to_stop,), name="webhooks")  # an address may be slow to answer
    telling.start()
    while not asked_to_stop.wait(seconds):
        sweep_once()
    telling.join()


def _tell(asked_to_stop: threading.Event) -> None:
    """Send webhooks and e-mail that are due, every few seconds. What is not sent stands in the database."""
    while not asked_to_stop.wait(SECONDS_BETWEEN_TELLING):
        try:
            send_due()
            send_due_letters()
        except (DBAPIError, OSError) as error:
            logger.warning("webhooks and e-mail wait: %s", error)


if __name__ == "__main__":
    main()
