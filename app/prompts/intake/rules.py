"""Use cases by rules: the first line whose words a prompt holds says what it is."""

import re
from dataclasses import dataclass

from app.prompts.models import UseCase

NAMES = {
    "information_extraction": "extract", "extraction": "extract", "creative_writing": "generation",
    "writing": "generation", "general_qa": "open_qa", "question_answering": "open_qa", "summarisation": "summarization",
    "summary": "summarization", "classify": "classification", "rewriting": "rewrite",
}  # fmt: skip


def use_case_named(value: str) -> str:
    """Our name for a use case, where it is another's; else the value as it is."""
    plain = re.sub(r"[\s-]+", "_", value.strip().lower())
    return NAMES.get(plain, plain)


@dataclass(frozen=True, slots=True)
class Rule:
    use_case: UseCase
    pattern: re.Pattern[str]


def parse_rules(text: str) -> list[Rule]:
    """Lines such as `summarization: ^summarize, tl;dr`; `^` says that a prompt begins so. Words are taken as they
    stand, so that no pattern can take for ever."""
    return [_rule(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _rule(number: int, line: str) -> Rule:
    name, colon, words = line.partition(":")
    if not colon:
        raise ValueError(f"line {number} has no colon: a rule is `use case: words, words`")
    try:
        use_case = UseCase(use_case_named(name))
    except ValueError:
        raise ValueError(f"line {number}: {name.strip()!r} is no use case; they are {', '.join(UseCase)}") from None
    parts = [_pattern(part.strip()) for part in words.split(",") if part.strip(" ^")]
    if not parts:
        raise ValueError(f"line {number} names no words for {use_case}")
    return Rule(use_case, re.compile("|".join(parts), re.IGNORECASE))


def _pattern(words: str) -> str:
    start, words = (r"\A\s*", words[1:]) if words.startswith("^") else (r"(?<!\w)", words)
    return rf"{start}{re.escape(words.strip())}(?!\w)"


def use_case_by(rules: list[Rule], text: str) -> UseCase | None:
    """What the first rule that fits says of a text."""
    return next((rule.use_case for rule in rules if rule.pattern.search(text)), None)
