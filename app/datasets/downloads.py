"""Downloads that resume: one range of bytes at a time, of what a strong ETag names."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.core.api import is_known

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
MOST_SIZES = 1000
_sizes: dict[str, int] = {}  # of files that were made before, by ETag: their length is known only when they are made


@dataclass(frozen=True, slots=True)
class Download:
    """A file that may have to be made. `etag` names its bytes: equal ETags, equal bytes."""

    name: str
    media: str
    etag: str
    blocks: Callable[[int], Iterator[bytes]]  # all bytes from this one on
    size: int | None = None  # none: known only when the file was made once


def answer(request: Request, download: Download) -> Response:
    """The file, or the range that is asked for (RFC 9110, 14): 206, or 416 where the file has no such bytes. Several
    ranges at once, and a range of what is another file by now (If-Range), are answered with all of it."""
    headers = {
        "ETag": f'"{download.etag}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{download.name}"',
    }
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD" or (wanted := _wanted(request, headers["ETag"])) is None:
        return _whole(request, download, headers)
    size = _size(download)
    if (found := _within(wanted, size)) is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, end = found
    headers |= {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
    part = _first(download.blocks(start), end - start)
    return StreamingResponse(part, 206, headers, download.media)


def skipped_to(start: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What follows the first `start` bytes. What comes before them is made and dropped: rows have no fixed length, and
    an index of where each begins would cost more than making a file again does."""
    for block in blocks:
        if start < len(block):
            yield block[start:]
        start = max(0, start - len(block))


def _whole(request: Request, download: Download, headers: dict[str, str]) -> Response:
    size = download.size if download.size is not None else _sizes.get(download.etag)
    if size is not None:
        headers["Content-Length"] = str(size)
    nothing: Iterator[bytes] = iter(())
    content = nothing if request.method == "HEAD" else _measured(download)
    return StreamingResponse(content, 200, headers, download.media)


def _wanted(request: Request, etag: str) -> tuple[str, str] | None:
    """The first and last byte as they were asked for; None: the whole file."""
    found = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if found is None or found.groups() == ("", "") or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = found.groups()
    return None if first and last and int(last) < int(first) else (first, last)


def _within(wanted: tuple[str, str], size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None: the file has none of these."""
    first, last = wanted
    if not first:  # the last so many
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    return (start, end) if start < end else None


def _first(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[:count]
        count -= len(block)
        if count <= 0:
            return


def _size(download: Download) -> int:
    if download.size is not None:
        return download.size
    if download.etag not in _sizes:
        for _ in _measured(download):
            pass
    return _sizes[download.etag]


def _measured(download: Download) -> Iterator[bytes]:
    """All of it; its length is remembered, so that a download which goes on makes the file once and not twice."""
    size = 0
    for block in download.blocks(0):
        size += len(block)
        yield block
    if len(_sizes) >= MOST_SIZES:
        _sizes.pop(next(iter(_sizes)))
    _sizes[download.etag] = size
