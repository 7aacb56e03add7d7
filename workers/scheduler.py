"""The scheduler: sweeps every few seconds, whatever the workers are busy with. `python -m workers.scheduler`

A process of our own rather than Celery's beat: beat would send the sweep to a worker, where it waits behind a run that
takes hours, and keeps a schedule file that a second signal at the wrong moment leaves closed under it.
"""

import logging
import signal
import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core.config import get_settings
from app.core.logs import configure_logs
from app.webhooks.letters import send_due_letters
from app.webhooks.sending import send_due
from workers.jobs.sweep import sweep_once

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_TELLING = 2.0
TELLING = (send_due, send_due_letters)


def main() -> None:
    """Sweep until asked to stop; the sweep under way is finished first."""
    configure_logs("scheduler")
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    seconds = get_settings().sweep_seconds
    # Threads of their own: an address may be slow to answer, and a mail server slower.
    telling = [threading.Thread(target=_tell, args=(asked_to_stop, send), name=send.__name__) for send in TELLING]
    for thread in telling:
        thread.start()
    while not asked_to_stop.wait(seconds):
        sweep_once()
    for thread in telling:
        thread.join()


def _tell(asked_to_stop: threading.Event, send: Callable[[], int]) -> None:
    """Send what is due, every few seconds. What is not sent stands in the database, whatever went wrong."""
    while not asked_to_stop.wait(SECONDS_BETWEEN_TELLING):
        try:
            send()
        except (DBAPIError, PoolTimeout, OSError) as error:
            logger.warning("%s waits: %s", send.__name__, error)
        except Exception:
            logger.exception("%s goes on after a mistake of ours", send.__name__)


if __name__ == "__main__":
    main()
