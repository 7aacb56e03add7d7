"""Response headers, and the refusal of cross-site requests."""

from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONTENT_SECURITY_POLICY = (
    # Speculation rules are no script: they only name pages of ours for the browser to fetch early.
    "default-src 'none'; script-src 'self' 'inline-speculation-rules'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_NOT_KEPT = (b"cache-control", b"no-store")
_TLS_ONLY = (b"strict-transport-security", b"max-age=31536000")  # not of other hosts of its domain: those are not ours


def is_cross_site(request: Request) -> bool:
    """Whether a browser says that another site made this unsafe request (as Datasette's csrf.py decides it)."""
    if request.method in SAFE_METHODS:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    # Without either header it is no browser: scripts carry no ambient cookie of a person.
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


class Guard:
    """Middleware: refuse cross-site writes, and addresses that no database can look for; put the security headers on
    every answer.

    Plain ASGI: Starlette's BaseHTTPMiddleware would pass every answer through a task and a queue of its own.
    """

    def __init__(self, app: ASGIApp, *, is_over_tls: bool = False) -> None:
        self.app = app
        self._static = [*_RAW, _TLS_ONLY] if is_over_tls else _RAW
        self._pages = [*self._static, _NOT_KEPT]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ours = self._static if scope["path"].startswith("/static/") else self._pages

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in ours if pair[0] not in own)]
            await send(message)

        if "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):  # PostgreSQL has no place for it
            refusal = PlainTextResponse("An address can't hold the character NUL.", 400)
            await refusal(scope, receive, send_guarded)
        elif is_cross_site(Request(scope)):
            refusal = PlainTextResponse("This request came from another site and was refused.", 403)
            await refusal(scope, receive, send_guarded)
        else:
            await self.app(scope, receive, send_guarded)
