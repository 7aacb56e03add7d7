"""Which part of the guidelines stays in sight while a demonstration is written."""

import pytest

from app.projects.writing_rules import rules_for_writing
from app.starter.load import CONTENT


def test_the_starters_rules_for_writing_are_found() -> None:
    rules = rules_for_writing((CONTENT / "guidelines.md").read_text(encoding="utf-8")).splitlines()
    assert len(rules) == 4
    assert rules[0] == "- About 60 to 130 words for a story; less where the prompt asks for less."


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (
            "# Demonstrations\n\nPlease:\n\n- be brief,\n  always\n* be kind\n\n## Else\n\n- not this",
            "- be brief, always\n* be kind",
        ),
        ("# Ranking\n\n- by quality", ""),
        ("- rewriting is no heading\n\n# Rewriting\n\n- nor is this one", ""),
        ("# How to write\n\nJust write.", ""),
        ("# Writing\n\n" + "- one more\n" * 9, ""),
        ("# Writing\n\n- " + "long " * 200, ""),
        ("", ""),
    ],
)
def test_a_short_list_under_a_heading_on_writing_is_taken(text: str, rules: str) -> None:
    assert rules_for_writing(text) == rules
