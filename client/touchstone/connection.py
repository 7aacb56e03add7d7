"""Requests to one server: who asks, what is tried again, and errors in words."""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

Json = Any
ATTEMPTS = 5
LONGEST_WAIT = 30.0  # seconds before a request is tried again
_BUSY = frozenset({429, 502, 503, 504})  # another time it may work


class ApiError(Exception):
    """The server refused a request. `fields` says what is wrong with each field that is."""

    def __init__(self, status: int, detail: str, *, mend: str = "", fields: Mapping[str, str] | None = None) -> None:
        said = "".join(f"\n  {name}: {wrong}" for name, wrong in (fields or {}).items())
        super().__init__(f"{status}: {detail} {mend}".rstrip() + said)
        self.status, self.detail, self.mend, self.fields = status, detail, mend, dict(fields or {})


class Unreachable(Exception):
    """The server did not answer, however often it was asked."""


class Connection:
    """A server and a token. What is broken off or answered with "later" is asked again, where that does no harm."""

    def __init__(self, url: str, token: str, *, timeout: float, transport: httpx.BaseTransport | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValueError(f"{url!r} is no server's address. Write it as https://touchstone.example.org.")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "touchstone-client"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def get(self, path: str, **query: object) -> Json:
        return self.ask("GET", path, params=_said(query)).json()

    def post(self, path: str, body: Json = None, *, again: bool = True) -> Json:
        """`again`: whether the same twice is the same as once."""
        return self.ask("POST", path, json=body, again=again).json()

    def pages(self, path: str, **query: object) -> Iterator[Json]:
        """Every item of a list, page after page, as they are wanted."""
        page = self.get(path, **query)
        yield from page["items"]
        while page["next"]:
            page = self.get(path, **query, after=page["next"])
            yield from page["items"]

    def ask(self, method: str, path: str, *, again: bool = True, **more: Any) -> httpx.Response:
        """An answer that is none of an error. ApiError, or Unreachable."""
        for attempt in range(1, ATTEMPTS + 1):
            is_last = attempt == ATTEMPTS or not again
            try:
                response = self.http.request(method, path, **more)
            except httpx.TransportError as error:
                if is_last:
                    raise Unreachable(f"{self.http.base_url} can't be reached: {error}") from error
                self.wait(attempt)
                continue
            if response.status_code not in _BUSY or is_last:
                return checked(response)
            self.wait(attempt, response.headers.get("Retry-After", ""))
        raise AssertionError("the last attempt ends")

    def wait(self, attempt: int, asked: str = "") -> None:
        """Longer each time, or as long as the server asks for."""
        time.sleep(min(LONGEST_WAIT, float(asked) if asked.isdigit() else 0.25 * 2**attempt))


def checked(response: httpx.Response) -> httpx.Response:
    """The response, if it is no error."""
    if response.is_success:
        return response
    response.read()
    try:
        problem = response.json()
        raise ApiError(response.status_code, problem["detail"], mend=problem["mend"], fields=problem["fields"])
    except (ValueError, KeyError, TypeError):
        said = response.text.strip()[:200] or response.reason_phrase
        raise ApiError(response.status_code, said, mend="Is this a Touchstone server's address?") from None


def _said(query: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value not in (None, "")}
