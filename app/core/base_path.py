"""Standing below a path of a host that others share: `https://example.org/touchstone`.

Within, everything speaks as if Touchstone had the host for itself: routes, redirects, templates, tests. The base path
is taken off a request where it comes in, and put before each address where it goes out: in the headers here, in the
attributes of pages as their templates are read. No route and no template has to think of it.
"""

import re
from collections.abc import Iterator

from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from starlette.datastructures import URL
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import get_settings

HEADERS = frozenset({b"location", b"hx-redirect", b"hx-location", b"hx-push-url", b"hx-replace-url"})
_OWN = ("ahead", "api", "events", "metrics", "next", "page", "png", "sign-in")  # what our scripts ask for
ATTRIBUTES = ("href", "src", "action", "formaction", "hx-get", "hx-post", *(f"data-{name}" for name in _OWN))
_NAMED = rf"(?<![\w-])(?:{'|'.join(ATTRIBUTES)})=\""
_LITERAL = re.compile(rf"{_NAMED}(?=/(?!/))")
_GIVEN = re.compile(rf"{_NAMED}\Z")


def base_path() -> str:
    """`/touchstone`; empty where Touchstone has the host for itself."""
    return get_settings().base_path


def below(address: str) -> str:
    """An address of Touchstone's as browsers have to ask for it; any other as it is."""
    base = base_path()
    is_ours = address.startswith("/") and not address.startswith(("//", f"{base}/"))
    return base + address if base and is_ours else address


class AddressesBelow(Extension):
    """Gives the addresses in a template's attributes the base path: those that stand there, and those that are put."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        is_put, is_address = False, False
        for token in stream:
            if token.type == "data":
                is_put = bool(_GIVEN.search(token.value))
                yield from _marked(token)
                continue
            if token.type == "variable_end" and is_address:
                is_address = False
                yield Token(token.lineno, "rparen", ")")
            if token.type == "block_begin" and is_put:
                raise TemplateSyntaxError("an address begins with a condition", token.lineno, filename=stream.name)
            yield token
            if token.type == "variable_begin" and is_put:
                is_address = True
                yield from _call(token.lineno, "address_below")
            is_put = False


def _marked(data: Token) -> Iterator[Token]:
    """The text, with the base path asked for before each address in it."""
    start = 0
    for found in _LITERAL.finditer(data.value):
        yield Token(data.lineno, "data", data.value[start : found.end()])
        yield Token(data.lineno, "variable_begin", "")
        yield from _call(data.lineno, "base_path")
        yield Token(data.lineno, "rparen", ")")
        yield Token(data.lineno, "variable_end", "")
        start = found.end()
    yield Token(data.lineno, "data", data.value[start:])


def _call(line: int, name: str) -> Iterator[Token]:
    yield Token(line, "name", name)
    yield Token(line, "lparen", "(")


class BasePath:
    """Middleware around all others. Proxies leave the base path on or take it off: either way it is gone within."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        base = base_path()
        if scope["type"] != "http" or not base:
            await self.app(scope, receive, send)
            return
        here = str(URL(scope=scope).replace(path="", query=""))
        _take_off(scope, base)

        async def send_below(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [_outward(name, value, status, here) for name, value in message["headers"]]
            await send(message)

        await self.app(scope, receive, send_below)


def _take_off(scope: Scope, base: str) -> None:
    """In the scope itself, so that what stands further out (an error page's request) sees the same."""
    if scope["path"] == base or scope["path"].startswith(f"{base}/"):
        scope["path"] = scope["path"].removeprefix(base) or "/"
        if raw := scope.get("raw_path"):
            scope["raw_path"] = raw.removeprefix(base.encode()) or b"/"


def _outward(name: bytes, value: bytes, status: int, here: str) -> tuple[bytes, bytes]:
    if name not in HEADERS:
        return name, value
    address = value.decode("latin-1")
    if status == 307:  # only Starlette's own, for a slash too many: it alone names this host too
        address = address.removeprefix(here)
    return name, below(address).encode("latin-1")
