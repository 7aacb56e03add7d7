"""Plain text for PPO-ptx: reading what is sent, a document at a time."""

import json
import re
from collections.abc import Iterator

from app.core.errors import Invalid
from app.prompts.readers import ImportFormat, decode
from app.prompts.schemas import keepable

LEAST_CHARACTERS = 20
_BLANK_LINES = re.compile(r"\n[ \t]*\n")


def read_documents(content: bytes, form: ImportFormat) -> tuple[list[str], list[str]]:
    """The documents, and what is wrong with each row that gives none. A file without any is refused."""
    text = decode(content)
    documents: list[str] = []
    problems: list[str] = []
    for where, document in _jsonl(text) if form is ImportFormat.jsonl else _paragraphs(text):
        try:
            documents.append(_checked(document))
        except ValueError as problem:
            problems.append(f"{where} {problem}")
    if not documents:
        raise Invalid("There is no text to take in it.", mend="; ".join(problems[:3]))
    return documents, problems


def _checked(document: str | None) -> str:
    if document is None:
        raise ValueError("has no field `text`")
    if len(document.strip()) < LEAST_CHARACTERS:
        raise ValueError(f"has less than {LEAST_CHARACTERS} characters")
    return keepable(document.strip())


def _jsonl(text: str) -> Iterator[tuple[str, str | None]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            row = None
        document = row.get("text") if isinstance(row, dict) else None
        yield f"Line {number}", document if isinstance(document, str) else None


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """A document between two lines `---`; without those, between blank lines."""
    lines = text.split("\n")
    has_rules = any(line.strip() == "---" for line in lines)
    parts = re.split(r"(?m)^[ \t]*---[ \t]*$", text) if has_rules else _BLANK_LINES.split(text)
    for number, part in enumerate((part for part in parts if part.strip()), start=1):
        yield f"Document {number}", part
