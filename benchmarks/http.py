"""An HTTP client of a few lines: the load generator shares the machine with the server, so it must be cheap."""

import asyncio
import json
import re
from typing import Any, Self
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]+)", re.IGNORECASE)


class Refused(Exception):
    """The server's answer was no success."""


class Client:
    """One connection of one labeler, with the cookies that the server set."""

    def __init__(self, address: str) -> None:
        self._place = urlsplit(address)
        self.cookies: dict[str, str] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def connect(self) -> None:
        """A new connection: servers close those that are silent for seconds."""
        self.close()
        host, port = self._place.hostname, self._place.port
        self._reader, self._writer = await asyncio.open_connection(host, port, limit=2**22)

    async def send(
        self, method: str, path: str, content: bytes = b"", *, kind: str = "application/json", **headers: str
    ) -> bytes:
        """The body of the answer; anything but a success or a redirect raises."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._place.netloc}", f"Cookie: {cookies}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(content)}", "", ""]
        assert self._writer is not None, "connect first"
        self._writer.write("\r\n".join(lines).encode() + content)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await self._reader.readexactly(int(length.group(1))) if length else b""
        for pair in _COOKIE.findall(head):
            name, _, value = pair.decode().partition("=")
            self.cookies[name] = value
        if head[9:10] not in b"23":
            raise Refused(f"{method} {path}: {head[:40]!r} {body[:500]!r}")
        return body

    async def send_json(self, method: str, path: str, value: object = None, **headers: str) -> Any:
        content = b"" if value is None else json.dumps(value).encode()
        return json.loads(await self.send(method, path, content, **headers))
