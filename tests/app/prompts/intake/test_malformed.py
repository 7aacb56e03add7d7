"""Files of prompts that are broken, hostile or not what they say: a report in words, and nothing is taken."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import reading
from app.core.errors import Invalid
from app.projects.models import Project
from app.prompts.models import ImportState, Prompt, PromptImport
from tests.app.prompts.intake.at_work import draft, jsonl, take
from tests.app.prompts.intake.test_imports import left_out, parquet, pool


@pytest.fixture
def installation_url(database_url: str) -> str:
    """On both databases."""
    return database_url


MANY = 20_000  # beyond what the preview reads
BAD_FILES = [
    ("a.jsonl", b'{"prompt": "ok"}\n' * MANY + b'{"prompt": "caf\xe9"}\n', "line 20001 has the byte 0xe9"),
    ("a.jsonl.gz", gzip.compress(b'{"prompt": "ok"}\n' * 20000)[:-40], "can't be unpacked"),
    ("a.jsonl.gz", gzip.compress(b'{"prompt": "ok"}\n' * MANY + b" " * 2_000_000), "larger than 1 MiB"),
    ("a.csv", b"prompt,user\n" + b"ok,ann\n" * 30 + b'"never closed,ann\n' * 3, "is not CSV"),
    ("a.csv", b"prompt,user\n" + b"ok,ann\n" * 30 + b"x" * 5_000_000 + b",ann\n", "Line 32 is longer than"),
    ("a.csv", b"prompt,user\n" + b"ok,ann\n" * 30 + b'"' + b"never closed\n" * 400_000, "larger than field limit"),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES)
def test_a_file_that_is_broken_in_its_middle_changes_nothing(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str
) -> None:
    monkeypatch.setattr(get_settings(), "prompt_unpacked_mib", 1)
    row = take(project, admin, content, name=name)
    assert row.state == ImportState.failed
    assert words in str(row.error)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Prompt)) == 0


def hostile_in_its_middle() -> bytes:
    """A hundred prompts, and then one text of 100 MB a million times: 6 kB that say 100 TB."""
    out = io.BytesIO()
    kind = pa.dictionary(pa.int32(), pa.string())
    options = {"dictionary_pagesize_limit": 2**30, "write_statistics": False, "compression": "zstd"}
    with pq.ParquetWriter(out, pa.schema([("prompt", kind)]), **options) as writer:
        for texts, count in (["Where is the dog?"], 100), (["x" * 100_000_000], 1_000_000):
            indices = pa.array([0] * count, pa.int32())
            column = pa.DictionaryArray.from_arrays(indices, pa.array(texts))
            writer.write_table(pa.table({"prompt": column}))
    return out.getvalue()


def test_a_hostile_parquet_fails_in_words_and_its_worker_lives(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "parquet_mib", 256)
    row = take(project, admin, hostile_in_its_middle(), name="a.parquet")
    assert (row.state, row.attempts) == (ImportState.failed, 1)
    assert "takes more than 256 MiB of memory" in str(row.error)
    assert pool(project) == []
    assert take(project, admin, jsonl({"prompt": "One"})).counts == {"taken": 1}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "nothing in it"),
        ("a.jsonl", b'{"prompt": "a"}'.decode().encode("utf-16"), "UTF-16"),
        ("a.txt", b"a line\n" * MANY + "weiß".encode("latin-1"), "line 20001 has the byte 0xdf"),
        ("a.zip", b"PK\x03\x04 and so on", "zip archive"),
        ("a.csv", b"prompt,prompt\na,b\n", "names `prompt` twice"),
        ("a.jsonl", b'[{"prompt": "a"}', "JSON list"),
        ("a.parquet", parquet([{"prompt": "a"}])[:-20], "Parquet"),
        ("a.parquet.gz", gzip.compress(parquet([{"prompt": "a"}])), "in this gzip file"),
        ("a.jsonl.gz", b"\x1f\x8bnot gzip at all", "can't be unpacked"),
    ],
)
def test_a_file_whose_beginning_cannot_be_read_is_refused_at_once(
    project: Project, admin: Person, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        draft(project, admin, content, name=name)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(PromptImport)) == 0
    assert not list((get_settings().state_dir / "artefacts").rglob("uploads/*/*"))


def test_one_bad_row_is_only_that(project: Project, admin: Person) -> None:
    rows = [
        b'{"prompt": "a", "prompt": "b"}',
        b'{"messages": [{"role": "user", "content": null}]}',
        b'{"messages": [null]}',
        b'{"prompt": "' + b"x" * (2**22) + b'"}',
        b'{"prompt": ' + b"9" * 5000 + b"}",
        b'{"prompt": "good"}',
    ]
    row = take(project, admin, b"\n".join(rows))
    assert row.counts == {"taken": 1, "refused": 5}
    reasons = [str(each["reason"]) for each in left_out(row)]
    for reason, words in zip(reasons, ("twice", "not text", "neither a message", "longer than", "JSON"), strict=True):
        assert words in reason
