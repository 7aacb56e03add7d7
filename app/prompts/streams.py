"""Files as they are sent: unpacked, decoded and cut into lines, never more in memory than a piece."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from app.core.errors import Invalid

BLOCK = 2**18
LONGEST_LINE = 2**22  # characters; a longer one is passed over, not kept
_LINE_END = re.compile(r"\r\n|\r|\n")
_GZIP, _ZIP, _UTF16 = b"\x1f\x8b", b"PK\x03\x04", (b"\xff\xfe", b"\xfe\xff")


class _Unpacking(io.RawIOBase):
    """A gzip file's content, up to a size: a few kilobytes can unpack to terabytes."""

    def __init__(self, packed: BinaryIO, most: int) -> None:
        self._file, self._most, self._count = gzip.GzipFile(fileobj=packed), most, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._count = 0
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        into = cast(memoryview, buffer)
        try:
            piece = self._file.read(len(into))
        except (OSError, EOFError, zlib.error) as error:
            raise Invalid(
                f"The file says that it is gzip, and can't be unpacked: {error}.", mend="Pack it anew."
            ) from error
        self._count += len(piece)
        if self._count > self._most:
            raise Invalid(
                f"Unpacked, the file is larger than {self._most // 2**20:,} MiB.",
                mend="Split it, or ask to raise TOUCHSTONE_PROMPT_UNPACKED_MIB.",
            )
        into[: len(piece)] = piece
        return len(piece)


def unpacked(file: BinaryIO, most: int) -> BinaryIO:
    """What is in `file`, which stands at its start; up to `most` bytes where it is packed."""
    head = file.read(4)
    file.seek(0)
    refuse_foreign(head)
    return cast(BinaryIO, io.BufferedReader(_Unpacking(file, most), BLOCK)) if head.startswith(_GZIP) else file


def refuse_foreign(head: bytes) -> None:
    """What a file's first bytes show to be no text."""
    if head.startswith(_ZIP):
        raise Invalid("The file is a zip archive (or a workbook).", mend="Unpack it and send the file inside.")
    if head[:2] in _UTF16:
        raise Invalid("The file is not UTF-8 text but UTF-16.", mend="Save it as UTF-8 and try again.")


def decoded(file: BinaryIO, *, as_it_is: bool = False) -> Iterator[str]:
    """The text from the file's start, block by block, its line ends all alike unless it is to stay `as_it_is`. What is
    not UTF-8 is Invalid, with the place."""
    file.seek(0)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=not as_it_is)
    lines, block = 0, b"-"
    while block:
        block = file.read(BLOCK)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line = lines + error.object[: error.start].count(b"\n") + 1
            raise Invalid(
                f"The file is not UTF-8 text: line {line} has the byte 0x{error.object[error.start]:02x}.",
                mend="Save it as UTF-8 and try again.",
            ) from error
        lines += text.count("\n")
        yield text


def lines_of(file: BinaryIO) -> Iterator[str | None]:
    """The file's lines without their ends; none for one that is longer than any can be."""
    begun, is_too_long = "", False
    for text in decoded(file):
        *whole, rest = (begun + text).split("\n")
        for line in whole:
            yield None if is_too_long or len(line) > LONGEST_LINE else line
            is_too_long = False
        is_too_long = is_too_long or len(rest) > LONGEST_LINE
        begun = "" if is_too_long else rest
    if begun or is_too_long:
        yield None if is_too_long else begun


def lines_with_ends(file: BinaryIO) -> Iterator[str | None]:
    """The file's lines as `lines_of` finds them, each with the end it has: inside quotes these are a cell's own."""
    begun, is_too_long = "", False
    for text in decoded(file, as_it_is=True):
        whole, start = begun + text, 0
        for found in _LINE_END.finditer(whole, len(begun)):
            yield None if is_too_long or found.end() - start > LONGEST_LINE else whole[start : found.end()]
            is_too_long, start = False, found.end()
        is_too_long = is_too_long or len(whole) - start > LONGEST_LINE
        begun = "" if is_too_long else whole[start:]
    if begun or is_too_long:
        yield None if is_too_long else begun
