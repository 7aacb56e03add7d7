"""A version of the rating schema in the making: its rows, its buttons, what is wrong with it, what it changes."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app.core.errors import Conflict, Invalid
from app.projects import service
from app.projects.rating_schemas import (
    Rows,
    changes,
    checked_fields,
    known_keys,
    paper_fields,
    press,
    rows_of,
    typed_rows,
)
from tests.factories import make_project

FIELDS = {
    "likert": [{"key": "overall", "label": "Overall quality", "low": "of no use", "high": "perfect"}],
    "flags": [
        {"key": "fails", "label": "Fails the task", "short": "Fails"},
        {"key": "rude", "label": "Is rude", "sensitive": True},
        {"key": "long", "label": "Too long"},
    ],
}


def sent(rows: Rows) -> FormData:
    """The form as a browser sends it."""
    pairs = [
        (f"{kind}_{name}", str(value))
        for kind, of_kind in rows.items()
        for row in of_kind
        for name, value in row.items()
        if name != "sensitive"
    ]
    ticked = [("flags_sensitive", str(number)) for number, row in enumerate(rows["flags"]) if row.get("sensitive")]
    return FormData([*pairs, *ticked, ("based_on", "1"), ("press", "")])


def keys(rows: Rows, kind: str = "flags") -> list[str]:
    return [row["key"] for row in rows[kind]]


def test_a_schema_comes_through_the_form_as_it_was() -> None:
    for fields in (FIELDS, paper_fields()):
        rows = typed_rows(sent(rows_of(fields)))
        assert checked_fields(rows, {}) == fields


@given(st.lists(st.sampled_from(["flags-up-0", "flags-down-0", "flags-up-2", "flags-down-2", "likert-down-9", "x"])))
def test_moving_loses_no_row(buttons: Sequence[str]) -> None:
    rows = rows_of(FIELDS)
    for button in buttons:
        press(rows, button)
    assert sorted(keys(rows)) == ["fails", "long", "rude"]
    assert next(row for row in rows["flags"] if row["key"] == "rude")["sensitive"] is True


def test_buttons_move_remove_and_add() -> None:
    rows = rows_of(FIELDS)
    assert press(rows, "flags-up-2") == ("flags", "up", 1)
    assert keys(rows) == ["fails", "long", "rude"]
    assert press(rows, "flags-down-0") == ("flags", "down", 1)
    assert keys(rows) == ["long", "fails", "rude"]
    assert press(rows, "flags-remove-2") == ("flags", "remove", 1)
    assert press(rows, "flags-add-0") == ("flags", "add", 2)
    assert keys(rows) == ["long", "fails", ""]
    assert press(rows, "likert-remove-0") == ("likert", "remove", -1)
    for nothing in ("", "flags-up-7", "rows-up-1", "flags-up-x"):
        assert press(rows, nothing) is None


def test_keys_are_made_of_the_words_where_none_is_written() -> None:
    rows = rows_of(FIELDS)
    rows["flags"] += [
        {"key": "", "label": "States what isn't so", "short": ""},
        {"key": "", "label": "x", "short": "Off"},
    ]
    fields = checked_fields(rows, {})
    assert [each["key"] for each in fields["flags"]][3:] == ["states_what_isn_t_so", "off"]


@pytest.mark.parametrize(
    ("row", "where", "words"),
    [
        ({"key": "rude", "label": "Rude again"}, "flag 4, key", "two of 'rude'"),
        ({"key": "overall", "label": "Overall"}, "flag 4, key", "two of 'overall'"),
        ({"key": "grade", "label": "Grade"}, "flag 4, key", "was a scale"),
        ({"key": "9 lives", "label": "Nine"}, "flag 4, key", "a-z, 0-9 and _"),
        ({"key": "", "label": "日本語"}, "flag 4, key", "a-z, 0-9 and _"),
        ({"key": "x", "label": " \r\n"}, "flag 4, label", "Write some words"),
        ({"key": "x", "label": "x" * 201}, "flag 4, label", "up to 200"),
        ({"key": "x", "label": "X", "short": "x" * 41}, "flag 4, short", "up to 40"),
    ],
)
def test_what_is_wrong_is_said_by_row(row: dict[str, Any], where: str, words: str) -> None:
    rows = rows_of(FIELDS)
    rows["flags"].append(row)
    with pytest.raises(Invalid) as refused:
        checked_fields(rows, {"grade": "likert", "rude": "flags"})
    assert list(refused.value.fields) == [where]
    assert words in refused.value.fields[where]


def test_an_empty_schema_and_one_too_many_are_refused() -> None:
    with pytest.raises(Invalid, match="not published"):
        checked_fields({"likert": [], "flags": []}, {})
    with pytest.raises(Invalid) as refused:
        checked_fields({"likert": [], "flags": [{"key": f"k{n}", "label": f"F {n}"} for n in range(51)]}, {})
    assert refused.value.fields == {"flags": "At most 50."}


def test_what_no_database_keeps_is_replaced() -> None:
    fields = checked_fields({"likert": [], "flags": [{"key": "x", "label": "a\x00b\ud800"}]}, {})
    assert fields["flags"][0]["label"] == "a\ufffdb\ufffd"


def test_changes_say_what_is_new_gone_worded_anew_and_moved() -> None:
    after = deepcopy(FIELDS)
    after["likert"][0]["high"] = "as good as can be"
    after["flags"] = [after["flags"][2], after["flags"][0], {"key": "false", "label": "States what is false"}]
    assert changes(FIELDS, FIELDS) == []
    assert changes(FIELDS, after) == [
        ("-", "Scale overall: Overall quality; 1 is “of no use”; 7 is “perfect”"),
        ("+", "Scale overall: Overall quality; 1 is “of no use”; 7 is “as good as can be”"),
        ("-", "Flag rude: Is rude; sensitive"),
        ("+", "Flag false: States what is false"),
        ("-", "Order of the flags: fails, long"),
        ("+", "Order of the flags: long, fails"),
    ]


def test_a_version_is_added_and_none_is_changed(session: Session) -> None:
    project = make_project(session)
    first = service.newest_rating_schema(session, project)
    assert first is not None
    before = deepcopy(first.fields)
    second = service.publish_rating_schema(session, project, FIELDS, based_on=1)
    assert (second.version, first.fields) == (2, before)
    with pytest.raises(Conflict, match="Meanwhile"):
        service.publish_rating_schema(session, project, FIELDS, based_on=1)
    assert known_keys(session, project) == {
        "overall": "likert",
        **dict.fromkeys(["fails_task", "hallucination", "fails", "rude", "long"], "flags"),
    }
    assert [each.version for each in service.schema_versions(session, project)] == [2, 1]
