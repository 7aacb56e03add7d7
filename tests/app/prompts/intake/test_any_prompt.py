"""Whatever prompts say, each format brings in the same of them; and out again as snapshots, they come back.

What a format has no place for. A text file: who wrote a prompt, a mark of the byte order at its start, a line `---`;
with a prompt a line, a line break. A table: a text that is itself a conversation in JSON.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.core.storage import Artefacts
from app.datasets import service as datasets
from app.datasets.export_files import export
from app.datasets.exports import ExportForm, FileType
from app.datasets.models import SnapshotKind
from app.datasets.rows import Row
from app.projects.models import Project
from app.prompts import service
from app.prompts.few_shot import few_shot_texts
from app.prompts.intake.mapping import guess, prompts_in
from app.prompts.intake.taking import rows_of
from app.prompts.judging import read_row
from app.prompts.models import ImportFormat, PromptKind
from app.prompts.readers import RawRow, guess_format
from app.prompts.schemas import PromptRow
from app.prompts.splits import content_hash
from app.prompts.turns import is_conversation
from tests.app.datasets.odd_texts import asked, conversations, named, splits, use_cases
from tests.factories import make_person, make_project

EXAMPLES = 15
Rows = list[dict[str, Any]]
ABOUT = ("user", "organisation", "source", "language", "kind", "use_case", "split")
TARGETS = ("source_user", "source_organisation", "source", "language", "kind", "use_case", "split")


def jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def escaped(rows: Rows) -> bytes:
    return json.dumps(rows, indent=1).encode()


def table(rows: Rows, delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(list(rows[0]))
    for row in rows:
        writer.writerow([json.dumps(row[n]) if isinstance(row[n], list) else row[n] for n in rows[0]])
    return out.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=2)
    return out.getvalue()


FILES: dict[str, Callable[[Rows], bytes]] = {
    "a.jsonl": jsonl,
    "a.json": escaped,
    "a.csv": table,
    "a.tsv": lambda rows: table(rows, "\t"),
    "a.parquet": parquet,
    "a.jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "a.csv.gz": lambda rows: gzip.compress(table(rows)),
}
about = st.fixed_dictionaries({
    "user": named, "organisation": named, "source": named, "language": st.sampled_from(["en", "de", "pt-br"]),
    "kind": st.sampled_from([each.value for each in PromptKind]), "use_case": use_cases, "split": splits,
})  # fmt: skip
plain = asked.filter(lambda text: not is_conversation(parsed(text)))
pairs = st.lists(st.tuples(asked, asked).map(list), min_size=2, max_size=3)


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def taken(name: str, content: bytes) -> list[PromptRow]:
    """What an import whose columns are guessed makes of a file. Nothing may be refused."""
    form = guess_format(name)
    rows = list(rows_of(io.BytesIO(content), form))
    chosen = guess(rows)
    read = [read_row(each) for raw in rows for each in prompts_in(raw, chosen)]
    assert [row.problem for row in read if row.problem] == []
    return [row.looked.row for row in read if row.looked]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def check(name: str, rows: Rows, prompts: list[list[list[dict[str, str]]]]) -> None:
    """`prompts`: what each of the rows makes."""
    found = taken(name, FILES[name](rows))
    assert [row.turns() for row in found] == [turns for each in prompts for turns in each]
    expected = [[row[column] for column in ABOUT] for row, each in zip(rows, prompts, strict=True) for _ in each]
    assert [[getattr(row, target) for target in TARGETS] for row in found] == expected


@pytest.mark.parametrize("name", FILES)
def test_plain_prompts(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(said=st.lists(st.tuples(plain, about), min_size=1, max_size=4))
    def holds(said: list[tuple[str, dict[str, str]]]) -> None:
        check(name, [{"prompt": text, **more} for text, more in said], [[user(text)] for text, _ in said])

    holds()


@pytest.mark.parametrize("name", FILES)
def test_chat_prompts(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(said=st.lists(st.tuples(conversations(), about), min_size=1, max_size=4))
    def holds(said: list[tuple[list[dict[str, str]], dict[str, str]]]) -> None:
        check(name, [{"messages": turns, **more} for turns, more in said], [[turns] for turns, _ in said])

    holds()


@pytest.mark.parametrize("name", FILES)
def test_few_shot_prompts(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(said=st.lists(st.tuples(plain, pairs, about), min_size=1, max_size=3))
    def holds(said: list[tuple[str, list[list[str]], dict[str, str]]]) -> None:
        rows = [{"instruction": text, "examples": shots, **more} for text, shots, more in said]
        made = [[user(each) for each in few_shot_texts(text, [(q, a) for q, a in shots])] for text, shots, _ in said]
        check(name, rows, made)

    holds()


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("has_rules", [False, True])
def test_text_files(name: str, has_rules: bool) -> None:
    def fits(text: str) -> bool:
        lines = text.split("\n")
        is_fit = not text.startswith("\ufeff") and "\r" not in text and not text.startswith("\x1f\x8b")
        return is_fit and (all(line.strip() != "---" for line in lines) if has_rules else len(lines) == 1)

    texts = st.lists(asked.filter(fits).filter(lambda text: text != "---"), min_size=1, max_size=4)

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(said=texts)
    def holds(said: list[str]) -> None:
        content = ("\n---\n" if has_rules else "\n").join([*said, ""]).encode()
        found = taken(name, gzip.compress(content) if name.endswith(".gz") else content)
        assert [row.turns() for row in found] == [user(text) for text in said]

    holds()


BAD = {"NUL": "a\x00b", "half of a pair": "a\ud800b", "too long": "x" * 40_001}
TOO_LONG = {"prompt": "is 40,001 characters long", "flags": "flags", "source": "at most 2000 characters"}


@pytest.mark.parametrize("column", ["prompt", "organisation", "user", "source", "flags"])
@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_kept_is_refused_in_words(column: str, bad: str) -> None:
    values = {"prompt": "Where is the dog?", column: BAD[bad]}
    raw = RawRow(1, json.loads(json.dumps(values)))
    (read,) = [read_row(each) for each in prompts_in(raw, guess([raw]))]
    words = TOO_LONG.get(column, "at most 200 characters") if bad == "too long" else "can't be kept"
    assert ("flags" if column == "flags" else words) in read.problem


def kept(session: Session, project: Project, store: Artefacts) -> list[Row]:
    frozen = datasets.freeze(session, project, SnapshotKind.prompts, {}, artefacts=store)
    return list(datasets.snapshot_rows(datasets.keep(session, frozen, None), store))


def without_ids(rows: list[Row]) -> list[str]:
    return sorted(str({name: value for name, value in row.items() if name != "id"}) for row in rows)


def take(session: Session, project: Project, content: bytes, form: ImportFormat) -> None:
    rows = list(rows_of(io.BytesIO(content), form))
    chosen = guess(rows)
    made = [each for raw in rows for each in prompts_in(raw, chosen)]
    person = make_person(session)
    report = service.import_prompts(session, project, made, person=person, source="file")
    assert (report.refused, report.duplicates) == ([], [])


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_pool_that_is_filled_from_anothers_snapshot_is_like_it(session: Session, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = Artefacts(str(tmp_path / "store"), tmp_path / "cache")
    one_split = about.map(lambda facts: facts | {"split": "train"})
    chats = st.lists(st.tuples(conversations(), one_split), min_size=1, max_size=4,
                     unique_by=lambda said: content_hash(said[0]))  # fmt: skip

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(said=chats, file_type=st.sampled_from(FileType))
    def holds(said: list[tuple[list[dict[str, str]], dict[str, str]]], file_type: FileType) -> None:
        first, second = make_project(session), make_project(session)
        take(session, first, jsonl([{"messages": turns, **more} for turns, more in said]), ImportFormat.jsonl)
        rows = kept(session, first, store)
        asked_for = [(turns, more["organisation"], more["use_case"], more["source"]) for turns, more in said]
        found = [(row["messages"], row["group"], row["use_case"], row["source"]) for row in rows]
        assert sorted(map(str, found)) == sorted(map(str, asked_for))
        form = ExportForm.prompt_only_conversational
        content = b"".join(export(SnapshotKind.prompts, rows, form=form, file_type=file_type))
        take(session, second, content, ImportFormat(file_type.value))
        assert without_ids(kept(session, second, store)) == without_ids(rows)

    holds()
