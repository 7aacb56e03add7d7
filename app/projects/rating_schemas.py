"""Writing a version of the rating schema: the form's rows, what is wrong with them, and what they change."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app.core.errors import Invalid
from app.core.storable import storable
from app.projects.models import Project, RatingSchema

Fields = Mapping[str, Any]
Rows = dict[str, list[dict[str, Any]]]  # by kind, as typed
KINDS = {"likert": "scale", "flags": "flag"}
MOST = {"likert": 10, "flags": 50}  # what a rating may carry
_PAPER = Path(__file__).parents[1] / "starter" / "rating_schema.json"
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TYPED = {"likert": ("key", "label", "low", "high"), "flags": ("key", "label", "short")}


def _words(most: int, least: int = 0) -> Any:
    lengths = StringConstraints(strip_whitespace=True, min_length=least, max_length=most)
    return Annotated[str, lengths, BeforeValidator(storable)]


class Scale(BaseModel):
    """A 1-7 with the wording of its ends."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    key: _words(100)  # type: ignore[valid-type]
    label: _words(120, least=1)  # type: ignore[valid-type]
    low: _words(60) = ""  # type: ignore[valid-type]
    high: _words(60) = ""  # type: ignore[valid-type]


class Flag(BaseModel):
    """A yes or no; `short` fits a chip, sensitive ones are what a screening compares."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    key: _words(100)  # type: ignore[valid-type]
    label: _words(200, least=1)  # type: ignore[valid-type]
    short: _words(40) = ""  # type: ignore[valid-type]
    sensitive: bool = False


def paper_fields() -> Fields:
    """The fields of the paper's Table 3."""
    fields: Fields = json.loads(_PAPER.read_text(encoding="utf-8"))
    return fields


def rows_of(fields: Fields) -> Rows:
    """A schema as the rows of the form."""
    return {
        kind: [
            {**{name: each.get(name, "") for name in names}, "sensitive": bool(each.get("sensitive"))}
            for each in fields.get(kind, [])
        ]
        for kind, names in _TYPED.items()
    }


def typed_rows(form: FormData) -> Rows:
    """The rows as they were sent, checked by nothing."""
    sensitive = {str(each) for each in form.getlist("flags_sensitive")}
    rows: Rows = {}
    for kind, names in _TYPED.items():
        columns = [[each if isinstance(each, str) else "" for each in form.getlist(f"{kind}_{name}")] for name in names]
        rows[kind] = [dict(zip(names, row, strict=True)) for row in zip_longest(*columns, fillvalue="")]
    for number, row in enumerate(rows["flags"]):
        row["sensitive"] = str(number) in sensitive
    return rows


def press(rows: Rows, button: str) -> tuple[str, str, int] | None:
    """Do what a button of the form says (`flags-up-2`), in place; returns kind, what was done, and where the row is."""
    found = re.fullmatch(r"(likert|flags)-(add|up|down|remove)-(\d{1,3})", button)
    if found is None:
        return None
    kind, what, number = found[1], found[2], int(found[3])
    of_kind = rows[kind]
    if what == "add":
        of_kind.append({**dict.fromkeys(_TYPED[kind], ""), "sensitive": False})
        return kind, what, len(of_kind) - 1
    if number >= len(of_kind):
        return None
    row = of_kind.pop(number)
    if what == "remove":
        return kind, what, min(number, len(of_kind) - 1)
    place = min(max(0, number + (1 if what == "down" else -1)), len(of_kind))
    of_kind.insert(place, row)
    return kind, what, place


def known_keys(session: Session, project: Project) -> dict[str, str]:
    """Every key that any version had, and its kind: what labels are kept under."""
    query = select(RatingSchema.fields).where(RatingSchema.project_id == project.id).order_by(RatingSchema.version)
    return {each["key"]: kind for fields in session.scalars(query) for kind in KINDS for each in fields.get(kind, [])}


def checked_fields(rows: Rows, known: Mapping[str, str]) -> dict[str, Any]:
    """The rows as a schema is stored. A key that is left empty is made of the words; one that labels were kept under
    keeps its kind."""
    wrong: dict[str, str] = {}
    fields: dict[str, Any] = {kind: [] for kind in KINDS}
    seen: set[str] = set()
    for kind, named in KINDS.items():
        if len(rows[kind]) > MOST[kind]:
            wrong[f"{named}s"] = f"At most {MOST[kind]}."
        for number, row in enumerate(rows[kind], 1):
            try:
                written = (Scale if kind == "likert" else Flag).model_validate(row).model_dump(exclude_defaults=True)
            except ValidationError as error:
                wrong |= {f"{named} {number}, {part['loc'][0]}": _in_words(part) for part in error.errors()}
                continue
            written["key"] = written["key"] or _key_from(written.get("short") or written["label"])
            if said := _wrong_key(written["key"], kind, known, seen):
                wrong[f"{named} {number}, key"] = said
            seen.add(written["key"])
            fields[kind].append(written)
    if not wrong and not any(fields.values()):
        wrong = {"fields": "Add a scale or a flag."}
    if wrong:
        raise Invalid("This version is not published.", mend="Mend these.", fields=wrong)
    return {kind: each for kind, each in fields.items() if each}


def as_written(rows: Rows) -> Rows:
    """The rows as they would be stored, for a look at what they change: trimmed, each with its key."""
    trimmed = {
        kind: [{name: each.strip() if isinstance(each, str) else each for name, each in row.items()} for row in of_kind]
        for kind, of_kind in rows.items()
    }
    for of_kind in trimmed.values():
        for row in of_kind:
            row["key"] = row["key"] or _key_from(row.get("short") or row["label"]) or "without a key"
    return trimmed


def _in_words(part: Any) -> str:
    if part["type"] == "string_too_short":
        return "Write some words."
    if part["type"] == "string_too_long":
        return f"Use up to {part['ctx']['max_length']} characters."
    return str(part["msg"])


def _key_from(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_0123456789")[:40].rstrip("_")


def _wrong_key(key: str, kind: str, known: Mapping[str, str], seen: set[str]) -> str:
    if key in seen:
        return f"There are two of {key!r}."
    if key not in known and not _KEY.fullmatch(key):
        return "Write one of a-z, 0-9 and _, beginning with a letter."
    if known.get(key, kind) != kind:
        return f"{key!r} was a {KINDS[known[key]]} in another version; choose another key."
    return ""


def flag_keys(fields: Fields) -> set[str]:
    return {each["key"] for each in fields.get("flags", [])}


def sensitive_flags(fields: Fields) -> set[str]:
    """Those that the schema marks as sensitive; all of them where it marks none."""
    return {each["key"] for each in fields.get("flags", []) if each.get("sensitive")} or flag_keys(fields)


def changes(before: Fields, after: Fields) -> list[tuple[str, str]]:
    """What is new ("+") and what is gone ("-"), field by field; what is worded anew is both."""
    found = []
    for kind, words in (("likert", _scale_in_words), ("flags", _flag_in_words)):
        old, new = ({each["key"]: words(each) for each in fields.get(kind, [])} for fields in (before, after))
        found += [("-", line) for key, line in old.items() if key not in new]
        for key, line in new.items():
            if line != old.get(key):
                found += [("-", old[key])] if key in old else []
                found.append(("+", line))
        orders = [[key for key in one if key in other] for one, other in ((old, new), (new, old))]
        if orders[0] != orders[1]:
            found += [(sign, _order(kind, keys)) for sign, keys in zip("-+", orders, strict=True)]
    return found


def _scale_in_words(scale: Fields) -> str:
    ends = [f"{number} is “{scale[end]}”" for number, end in ((1, "low"), (7, "high")) if scale.get(end)]
    return "; ".join([f"Scale {scale['key']}: {scale.get('label', '')}", *ends])


def _flag_in_words(flag: Fields) -> str:
    short = f"; “{flag['short']}” on the chip" if flag.get("short") else ""
    return f"Flag {flag['key']}: {flag.get('label', '')}{short}{'; sensitive' if flag.get('sensitive') else ''}"


def _order(kind: str, keys: Sequence[str]) -> str:
    return f"Order of the {KINDS[kind]}s: {', '.join(keys)}"
