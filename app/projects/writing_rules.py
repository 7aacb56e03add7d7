"""What the guidelines ask of a demonstration, short enough to stay in sight beside the text that is being written."""

import re
from functools import lru_cache

MOST_RULES, LONGEST = 8, 900  # more is for the guidelines themselves, one key away
_HEADING = re.compile(r"#{1,6}\s")
_ON_WRITING = re.compile(r"#{1,6}\s.*\b(writing|write|demonstrations?)\b", re.IGNORECASE)
_RULE = re.compile(r"[-*+]\s")


@lru_cache(maxsize=64)
def rules_for_writing(text: str) -> str:
    """The list under the first heading that speaks of writing or of demonstrations, as Markdown; empty without one."""
    lines = iter(text.splitlines())
    for line in lines:
        if _ON_WRITING.match(line):
            break
    rules: list[str] = []
    for line in lines:
        if _HEADING.match(line):
            break
        if _RULE.match(line):
            rules.append(line)
        elif rules and line.startswith(" ") and line.strip():
            rules[-1] += f" {line.strip()}"
    found = "\n".join(rules)
    return found if len(rules) <= MOST_RULES and len(found) <= LONGEST else ""
