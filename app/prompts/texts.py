"""Plain text for PPO-ptx: reading what is sent, a document at a time."""

import re
from collections.abc import Iterator

from app.core.errors import Invalid
from app.prompts.readers import ImportFormat, decode, read_rows
from app.prompts.schemas import keepable

LEAST_CHARACTERS = 20
_BLANK_LINES = re.compile(r"\n[ \t]*\n")


def read_documents(content: bytes, form: ImportFormat) -> tuple[list[str], list[str]]:
    """The documents, and what is wrong with each row that gives none. A file without any is refused."""
    documents: list[str] = []
    problems: list[str] = []
    for where, document in _paragraphs(decode(content)) if form is ImportFormat.text else _rows(content, form):
        try:
            documents.append(_checked(document))
        except ValueError as problem:
            problems.append(f"{where} {problem}")
    if not documents:
        raise Invalid("There is no text to take in it.", mend="; ".join(problems[:3]))
    return documents, problems


def _checked(document: str | ValueError) -> str:
    if isinstance(document, ValueError):
        raise document
    if len(document.strip()) < LEAST_CHARACTERS:
        raise ValueError(f"has less than {LEAST_CHARACTERS} characters")
    return keepable(document.strip())


def _rows(content: bytes, form: ImportFormat) -> Iterator[tuple[str, str | ValueError]]:
    for row in read_rows(content, form, needed={"text"}):
        text = row.values.get("text") if isinstance(row.values, dict) else None
        why = ValueError(row.problem or "has no field `text`")
        yield f"Line {row.number}", text if isinstance(text, str) else why


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """A document between two lines `---`; without those, between blank lines."""
    lines = text.split("\n")
    has_rules = any(line.strip() == "---" for line in lines)
    parts = re.split(r"(?m)^[ \t]*---[ \t]*$", text) if has_rules else _BLANK_LINES.split(text)
    for number, part in enumerate((part for part in parts if part.strip()), start=1):
        yield f"Document {number}", part
