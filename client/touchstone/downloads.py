"""Files that are fetched whole or not at all, going on where a download broke off."""

import hashlib
import os
from pathlib import Path

import httpx

from touchstone.connection import ATTEMPTS, Connection, Unreachable, checked


def download(connection: Connection, address: str, path: str | os.PathLike[str]) -> Path:
    """The file at `path`. What came is kept beside it until it is whole, so that another call goes on with it."""
    etag, target = connection.ask("HEAD", address).headers["ETag"], Path(path)
    named = hashlib.sha256(etag.encode()).hexdigest()[:12]  # so that another file's part is never gone on with
    part = target.with_name(f"{target.name}.{named}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _go_on(connection, address, etag, part)
            break
        except httpx.TransportError as error:
            if attempt == ATTEMPTS:
                raise Unreachable(f"The download broke off {ATTEMPTS} times; call again to go on: {error}") from error
            connection.wait(attempt)
    return part.replace(target)


def _go_on(connection: Connection, address: str, etag: str, part: Path) -> None:
    start = part.stat().st_size if part.exists() else 0
    wanted = {"Range": f"bytes={start}-", "If-Range": etag} if start else {}
    with connection.http.stream("GET", address, headers=wanted) as response:
        if response.status_code == 416:  # there is nothing behind it: it was whole
            return
        is_rest = checked(response).status_code == 206
        with part.open("ab" if is_rest else "wb") as file:
            for block in response.iter_bytes():
                file.write(block)
