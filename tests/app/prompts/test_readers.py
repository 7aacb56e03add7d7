import time

import pytest

from app.core.errors import Invalid
from app.prompts.readers import ImportFormat, guess_format, read_rows


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.jsonl", "jsonl"), ("b.JSON", "jsonl"), ("c.csv", "csv"), ("d.tsv", "csv"), ("e.txt", "text"), ("f", "text")],
)
def test_format_follows_the_ending(name: str, form: str) -> None:
    assert guess_format(name) == form


def test_one_bad_json_line_leaves_the_others() -> None:
    rows = read_rows(b'{"prompt": "a"}\n\n{oops}\n{"prompt": "b"}\n', ImportFormat.jsonl)
    assert [(row.number, row.values) for row in rows] == [(1, {"prompt": "a"}), (3, None), (4, {"prompt": "b"})]
    assert rows[1].problem.startswith("is not JSON")


def test_a_json_list_is_read_like_lines() -> None:
    rows = read_rows(b'[{"prompt": "a"}, {"prompt": "b"}]', ImportFormat.jsonl)
    assert [row.values for row in rows] == [{"prompt": "a"}, {"prompt": "b"}]


def test_deeply_nested_json_is_a_bad_row_and_no_crash() -> None:
    rows = read_rows(b"{" + b'"a":{' * 100_000, ImportFormat.jsonl)
    assert rows[0].problem.startswith("is not JSON")


def test_csv_takes_quoted_commas_lines_and_semicolons() -> None:
    rows = read_rows(b'Prompt;User\n"A; b\nc";ann\n', ImportFormat.csv)
    assert [row.values for row in rows] == [{"prompt": "A; b\nc", "user": "ann"}]


def test_csv_reads_messages_as_json() -> None:
    rows = read_rows(b'messages\n"[{""role"": ""user"", ""content"": ""Hi""}]"\n[oops\n', ImportFormat.csv)
    assert rows[0].values == {"messages": [{"role": "user", "content": "Hi"}]}
    assert "not JSON" in rows[1].problem


def test_csv_row_with_too_many_cells_says_so() -> None:
    rows = read_rows(b"prompt,user\nOnce, upon a time,ann\n", ImportFormat.csv)
    assert "more cells" in rows[0].problem


def test_csv_row_that_is_cut_off_says_so() -> None:
    rows = read_rows(b"prompt,user\nOnce,ann\nTwi", ImportFormat.csv)
    assert (rows[0].problem, rows[1].number) == ("", 3)
    assert "fewer cells" in rows[1].problem


def test_csv_cells_keep_the_line_ends_they_have() -> None:
    rows = read_rows(b'prompt,user\r\n"a\r\nb\rc\nd",ann\r\n', ImportFormat.csv)
    assert rows[0].values == {"prompt": "a\r\nb\rc\nd", "user": "ann"}
    old = read_rows(b"prompt,user\rOnce,ann\rTwice,bob", ImportFormat.csv)
    assert [row.values["user"] for row in old] == ["ann", "bob"]


def test_a_long_line_is_read_once() -> None:
    """Lines are looked for block by block: one of 4 MB must not be looked through again with every block."""
    began = time.perf_counter()
    rows = read_rows(b"prompt,user\n" + b"x" * 4_000_000 + b",ann\n", ImportFormat.csv)
    assert len(rows[0].values["prompt"]) == 4_000_000
    assert time.perf_counter() - began < 2


def test_our_own_tables_lose_their_guards_and_others_keep_their_apostrophes() -> None:
    assert read_rows(b"prompt,prompt_id\n'=1+1,p\n", ImportFormat.csv)[0].values["prompt"] == "=1+1"
    assert read_rows(b"prompt,user\n'=1+1,ann\n", ImportFormat.csv)[0].values["prompt"] == "'=1+1"


@pytest.mark.parametrize(
    ("content", "form", "words"),
    [
        (b"", ImportFormat.text, "nothing in it"),
        (b"  \n \n", ImportFormat.jsonl, "nothing in it"),
        (b"ok\nbad \xff byte", ImportFormat.text, "line 2 has the byte 0xff"),
        (b"name,age\nAnn,3\n", ImportFormat.csv, "no column `prompt`"),
        (b'prompt\n"never closed\n', ImportFormat.csv, "is not CSV"),
        (b"[1, 2", ImportFormat.jsonl, "JSON list"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_place(content: bytes, form: ImportFormat, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read_rows(content, form)


def test_text_is_a_prompt_a_line() -> None:
    rows = read_rows("\ufeffOne \r\n\r\nTwo".encode(), ImportFormat.text)
    assert [(row.number, row.values) for row in rows] == [(1, {"prompt": "One"}), (3, {"prompt": "Two"})]


def test_text_with_rules_is_a_prompt_between_them() -> None:
    rows = read_rows(b"One\ntwo\n---\n\n---\nThree\n", ImportFormat.text)
    assert [(row.number, row.values["prompt"]) for row in rows] == [(1, "One\ntwo"), (6, "Three")]
