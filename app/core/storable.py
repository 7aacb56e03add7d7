"""Typed text as the databases can keep it."""

import re
from typing import Any

# Neither database can keep these: NUL, and halves of surrogate pairs.
NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
LONGEST_SEARCH = 200  # characters of a search that are looked for: SQLite gives up on patterns of 50,000 bytes


def storable(text: Any) -> Any:
    """`text` with plain newlines (forms send CRLF), and with what no database keeps replaced by the sign for it: no one
    could see such a character to take it out."""
    return NOT_STORABLE.sub("\ufffd", text.replace("\r\n", "\n")) if isinstance(text, str) else text
