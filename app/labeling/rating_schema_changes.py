"""What one version of the rating schema changes against another, in words."""

from collections.abc import Mapping, Sequence

from app.core.numerals import minus
from app.labeling.questions import NOTES, Fields, notes_of
from app.labeling.rating_schemas import KINDS
from app.labeling.scales import scales_of

Change = tuple[str, str]  # "+" or "-", and what is new or gone


def changes(before: Fields, after: Fields) -> list[Change]:
    """What is new and what is gone, field by field; what is worded anew is both."""
    found: list[Change] = []
    for kind, words in (("likert", _scale_in_words), ("flags", _flag_in_words)):
        old, new = ({each["key"]: words(each) for each in fields.get(kind, [])} for fields in (before, after))
        found += _replaced(old, new)
        orders = [[key for key in one if key in other] for one, other in ((old, new), (new, old))]
        if orders[0] != orders[1]:
            found += [(sign, _order(kind, keys)) for sign, keys in zip("-+", orders, strict=True)]
        found += _replaced(_helps(kind, before), _helps(kind, after))
    return found + _replaced({"notes": notes_in_words(before)}, {"notes": notes_in_words(after)})


def _replaced(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    found = [("-", line) for key, line in old.items() if key not in new]
    for key, line in new.items():
        if line != old.get(key):
            found += [("-", old[key])] if key in old else []
            found.append(("+", line))
    return found


def _scale_in_words(scale: Fields) -> str:
    found = scales_of({"likert": [scale]})[scale["key"]]
    words = {found.least: scale.get("low"), **scale.get("words", {}), found.most: scale.get("high")}
    steps = [f"{minus(step)} is “{said}”" for step, said in words.items() if said]
    span = [] if found.is_usual else [f"from {found.range}"]
    return "; ".join([f"Scale {found.key}: {scale.get('label', '')}", *span, *steps])


def _flag_in_words(flag: Fields) -> str:
    parts = [f"Flag {flag['key']}: {flag.get('label', '')}"]
    parts += [f"“{flag['short']}” on the chip"] if flag.get("short") else []
    parts += ["sensitive"] if flag.get("sensitive") else []
    parts += [limits_in_words(flag)] if flag.get("use_cases") else []
    return "; ".join(parts)


def limits_in_words(flag: Fields) -> str:
    """`only for closed qa, extract`; nothing for a flag that is for all."""
    named = ", ".join(each.replace("_", " ") for each in flag.get("use_cases", []))
    return f"only for {named}" if named else ""


def notes_in_words(fields: Fields) -> str:
    return f"Notes: {', '.join(NOTES[each] for each in notes_of(fields)) or 'none'}"


def _helps(kind: str, fields: Fields) -> dict[str, str]:
    written = [each for each in fields.get(kind, []) if each.get("help")]
    return {each["key"]: f"Help with {KINDS[kind]} {each['key']}: {each['help']}" for each in written}


def _order(kind: str, keys: Sequence[str]) -> str:
    return f"Order of the {KINDS[kind]}s: {', '.join(keys)}"
