"""Webhooks: addresses that are told of events, and what each was sent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from touchstone.connection import Connection
from touchstone.records import read


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address as it was when it was asked for."""

    id: str
    url: str
    events: list[str]
    is_paused: bool
    created_at: datetime
    slug: str = field(repr=False, compare=False)
    connection: Connection = field(repr=False, compare=False)
    secret: str | None = field(default=None, repr=False, compare=False)  # of one that was added just now, and else none

    def deliveries(self) -> Iterator["Delivery"]:
        """What it was sent or is to be sent, newest first."""
        found = self.connection.pages(f"{self._api}/{self.id}/deliveries")
        return (self._delivery(each) for each in found)

    def ping(self) -> "Delivery":
        """Send it something, to see whether the address works."""
        return self._delivery(self._told("ping"))

    def pause(self) -> "Webhook":
        """Events pass it by until it goes on."""
        return self._read(self._told("pause"))

    def resume(self) -> "Webhook":
        return self._read(self._told("continue"))

    def delete(self) -> None:
        """It is told nothing more, and what it was sent is forgotten."""
        self.connection.ask("DELETE", f"{self._api}/{self.id}", again=False)

    @property
    def _api(self) -> str:
        return f"/api/v1/projects/{self.slug}/webhooks"

    def _told(self, what: str) -> dict[str, Any]:
        said: dict[str, Any] = self.connection.post(f"{self._api}/{self.id}/{what}", again=False)
        return said

    def _read(self, said: dict[str, Any]) -> "Webhook":
        return read(Webhook, said, slug=self.slug, connection=self.connection)

    def _delivery(self, said: dict[str, Any]) -> "Delivery":
        return read(Delivery, said, slug=self.slug, connection=self.connection)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one address. Receivers see its id as `webhook-id`, the same however often it is sent.

    `state`: waiting, delivered or failed. While it waits it is sent, or sent again, at `next_at`.
    """

    id: str
    event: str
    payload: str
    state: str
    attempts: int
    next_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    delivered_at: datetime | None
    slug: str = field(repr=False, compare=False)
    connection: Connection = field(repr=False, compare=False)

    @property
    def said(self) -> dict[str, Any]:
        """What is sent: `type`, `timestamp` and `data`."""
        found: dict[str, Any] = json.loads(self.payload)
        return found

    def send_again(self) -> "Delivery":
        """Once more, from the start, where it was given up or taken already."""
        address = f"/api/v1/projects/{self.slug}/webhooks/deliveries/{self.id}/again"
        said = self.connection.post(address, again=False)
        return read(Delivery, said, slug=self.slug, connection=self.connection)
