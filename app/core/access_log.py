"""Each request gets an id that goes wherever its work goes, and a line that says what was asked and how it ended."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.logs import bind, fields
from app.core.traces import span

logger = logging.getLogger("touchstone.access")
HEADER = "X-Request-ID"
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds: a line only when they are not well
_NAME = HEADER.lower().encode()
_SANE = re.compile(r"[A-Za-z0-9._-]{8,64}")
_TRACE = frozenset({b"traceparent", b"tracestate"})
Watch = Callable[[str, str, int, float], None]  # method, route, status, seconds


def request_id_of(scope: Scope) -> str:
    """The proxy's own id, where it is one that can stand in logs and headers; else a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == _NAME), "")
    return given if _SANE.fullmatch(given) else uuid.uuid4().hex


def route_of(scope: Scope) -> str:
    """The route's template: addresses themselves hold tokens and names."""
    if scope["path"].startswith("/static/"):
        return "/static"
    return getattr(scope.get("route"), "path", "") or "unknown"


def _carried(scope: Scope) -> dict[str, str]:
    """The trace that a proxy has begun."""
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE}


def _name(traced: Any, scope: Scope, status: int, request_id: str) -> None:
    """Known only at the end. Never the address: see `route_of`."""
    traced.update_name(f"{scope['method']} {route_of(scope)}")
    traced.set_attributes(
        {"http.request.method": scope["method"], "http.route": route_of(scope), "http.response.status_code": status,
         "touchstone.request_id": request_id}
    )  # fmt: skip


class RequestLog:
    """Middleware around all others. Plain ASGI, as Guard is; the id stays bound, so that what the server itself says
    of this request has it too: each runs in a context of its own."""

    def __init__(self, app: ASGIApp, *, watch: Watch | None = None) -> None:
        self.app, self._watch = app, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        bind(request_id=request_id)
        started, status = time.perf_counter(), 500  # what breaks without an answer gets one of 500

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_NAME, request_id.encode())]
            await send(message)

        with span(scope["method"], carried=_carried(scope)) as traced:
            try:
                await self.app(scope, receive, send_marked)
            finally:
                self._tell(scope, status, time.perf_counter() - started)
                if traced is not None:
                    _name(traced, scope, status, request_id)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = scope["method"], route_of(scope)
        if self._watch is not None:
            self._watch(method, route, status, seconds)
        if logger.isEnabledFor(logging.INFO) and not (route in QUIET and status < 400):
            ms = round(1000 * seconds, 1)
            told = fields(method=method, route=route, status=status, milliseconds=ms)
            logger.info("%s %s %d in %s ms", method, route, status, ms, extra=told)
