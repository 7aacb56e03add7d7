"""Sends what is due, signed as Standard Webhooks says (standardwebhooks.com), and keeps what became of it."""

import httpx
from standardwebhooks.webhooks import Webhook as Signer

from app.core.clock import now
from app.core.db import reading, writing
from app.core.errors import DomainError
from app.webhooks import service
from app.webhooks.addresses import addresses_of
from app.webhooks.schedule import BATCH
from app.webhooks.service import Due

SECONDS = 10.0  # that an address has to answer


def send_due() -> int:
    """Send what is due now, at most a batch, each taken when its turn comes. Returns how many were tried."""
    sent = 0
    while sent < BATCH and _is_due():
        with writing() as session:
            due = service.take_due(session)
        if due is None:  # what is due waits for a webhook that is paused, or another scheduler has it
            break
        status, error = _send(due)
        with writing() as session:
            service.settle(session, due, status=status, error=error)
        sent += 1
    return sent


def _is_due() -> bool:
    with reading() as session:
        return service.is_due(session)


def _send(due: Due) -> tuple[int | None, str | None]:
    """The answer's status, and what went wrong if something did."""
    try:
        address, *_ = addresses_of(due.url)
        status = _post(due, address)
    except DomainError as error:
        return None, error.message
    except Exception as error:  # httpx's, the network's, and whatever else: the webhooks behind it go out
        return None, f"{type(error).__name__}: {str(error)[:300]}"
    return status, None if 200 <= status < 300 else f"It answered {status}."


def _post(due: Due, address: str) -> int:
    """To this very address, whatever the name says by now. What comes back is not read, and leads nowhere else."""
    asked, moment, name = httpx.URL(due.url), now(), str(due.id)
    headers = {
        "Host": asked.netloc.decode(),  # ASCII, whatever letters the name has
        "Content-Type": "application/json",
        "User-Agent": "Touchstone",
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Signer(due.secret).sign(name, moment, due.payload),
    }
    certified = {"sni_hostname": asked.raw_host.decode()}
    with (
        httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream(
            "POST", asked.copy_with(host=address), content=due.payload, headers=headers, extensions=certified
        ) as response,
    ):
        return response.status_code
