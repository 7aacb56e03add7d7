"""Files of labels that are broken, hostile or not what they say: each gives a report in words, and nothing is taken."""

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import reading
from app.labeling.models import Demonstration, Ranking
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.app.datasets.existing.test_import_page import confirm
from tests.conftest import SignIn

PAIR = {"prompt": "Where is the dog?", "chosen": "Home.", "rejected": "Gone."}
GOOD = json.dumps(PAIR).encode()


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


FILES = {
    "wrong encoding": ("a.jsonl", GOOD + b"\n" + "weiß".encode("latin-1"), "line 2 has the byte 0xdf"),
    "UTF-16": ("a.jsonl", GOOD.decode().encode("utf-16"), "not UTF-8 text but UTF-16"),
    "a workbook": ("a.csv", b"PK\x03\x04 and so on", "zip archive (or a workbook)"),
    "a cut gzip": ("a.jsonl.gz", gzip.compress(GOOD * 1000)[:-30], "can&#39;t be unpacked"),
    "a gzip bomb": ("a.jsonl.gz", gzip.compress(b"\n" * 3_000_000), "larger than 1 MiB"),
    "a Parquet bomb": ("a.parquet", parquet(chosen=["x" * 1000] * 3000, rejected=["y"] * 3000), "larger than 1 MiB"),
    "a quote that is never closed": ("a.csv", b'chosen,rejected\n"Home,Gone\n', "is not CSV"),
    "a huge line of a table": ("a.csv", b"chosen,rejected\n" + b"x" * 5_000_000, "longer than"),
    "a column twice": ("a.csv", b"chosen,chosen\na,b\n", "names `chosen` twice"),
    "a cut list": ("a.json", b"[" + GOOD, "starts like a JSON list but is none"),
    "a cut Parquet": ("a.parquet", parquet(chosen=["a"], rejected=["b"])[:-20], "Parquet"),
    "nothing": ("a.jsonl", b"\n", "There is nothing in it"),
}
ROWS = {
    "a cut line": (GOOD[:-10], "is not JSON"),
    "a name twice": (b'{"prompt": "p", "chosen": "a", "chosen": "b", "rejected": "c"}', "names &#39;chosen&#39; twice"),
    "other columns": (b'{"question_id": 1, "verdict": "A"}', "is of no known shape"),
    "no object": (b"3", "is not an object"),
    "nulls": (b'{"prompt": null, "chosen": null, "rejected": null}', "neither text nor a list"),
    "nulls inside": (b'{"prompt": [null], "chosen": [{"role": null}], "rejected": [[]]}', "a turn of"),
    "null completions": (b'{"prompt": "p", "completions": [null, null], "ranks": [1, 2]}', "is missing"),
    "null ranks": (b'{"prompt": "p", "completions": ["a", "b"], "ranks": [null, null]}', "fewer than two"),
    "null annotations": (b'{"data": {"prompt": "p", "text1": "a"}, "annotations": [null]}', "is not what tasks"),
    "no number": (b'{"instruction": "p", "completions": [{"response": "a", "score": NaN}, {"response": "b", "score": '
                  b'Infinity}]}', "fewer than two of its completions have a score"),
    "half of a pair": (b'{"prompt": "p\\ud800", "chosen": "a", "rejected": "b"}', "can&#39;t be kept"),
    "half of a pair in a completion": (b'{"prompt": "p", "chosen": "a\\ud800", "rejected": "b"}', "can&#39;t be kept"),
    "half of a pair in a name": (b'{"\\ud800": 1}', "is of no known shape"),
    "NUL": (b'{"prompt": "p", "chosen": "a\\u0000", "rejected": "b"}', "can&#39;t be kept"),
    "a huge line": (b'{"prompt": "' + b"x" * 5_000_000 + b'"}', "longer than"),
    "a huge number": (b'{"prompt": "p", "completions": ["a", "b"], "ranks": [1, ' + b"9" * 5000 + b"]}", "is not JSON"),
    "a name too long": (json.dumps(PAIR | {"group": "x" * 3000}).encode(), "at most 200 characters"),
    "deep beside": (GOOD[:-1] + b', "x": ' + b"[" * 300 + b"]" * 300 + b"}", "more than 200 levels"),
    "deep": (b'{"prompt": ' + b"[" * 100_000, "is not JSON"),
}  # fmt: skip
DEEP = b'{"prompt": ' + b'{"a":' * 800 + b"1" + b"}" * 800 + b', "chosen": "a", "rejected": "b"}'


def send(client: TestClient, project: Project, name: str, content: bytes) -> Any:
    return client.post(f"/p/{project.slug}/datasets/import", files={"file": (name, content)})


def taken() -> int:
    with reading() as session:
        counts = (session.scalar(select(func.count()).select_from(kind)) for kind in (Prompt, Ranking, Demonstration))
        return sum(count or 0 for count in counts)


@pytest.mark.parametrize(("name", "content", "words"), FILES.values(), ids=FILES.keys())
def test_a_file_that_cannot_be_read_is_refused(
    sign_in: SignIn, admin: Person, project: Project, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes,
    words: str,
) -> None:  # fmt: skip
    if "1 MiB" in words:
        monkeypatch.setattr(get_settings(), "upload_mib", 1)
    answer = send(sign_in(admin), project, name, content)
    assert (answer.status_code, words in answer.text) == (422, True)
    assert taken() == 0


@pytest.mark.parametrize(("row", "words"), [*ROWS.values(), (DEEP, "more than 200 levels")], ids=[*ROWS, "nested"])
def test_a_row_that_cannot_be_taken_is_told_and_the_others_are_taken(
    sign_in: SignIn, admin: Person, project: Project, row: bytes, words: str
) -> None:
    client = sign_in(admin)
    alone = send(client, project, "a.jsonl", row)
    assert (alone.status_code, words in alone.text) == (200, True), alone.text
    assert "None of these rows can be taken" in alone.text
    page = send(client, project, "a.jsonl", row + b"\n" + GOOD).text
    assert "1 ranking" in page
    confirm(client, f"/p/{project.slug}/datasets/import", page)
    assert taken() == 2  # a prompt and its ranking


@pytest.mark.parametrize("odd", ["x\ud800", "x\x00"])
def test_odd_names_of_labelers_and_models_stop_nothing(
    sign_in: SignIn, admin: Person, project: Project, odd: str
) -> None:
    rows = [
        {"prompt": "p", "responses": [{"text": "a", "model": odd}, {"text": "b"}], "source": "web",
         "rankings": [{"labeler": odd, "ranks": [1, 2], "note": odd}]},
        {"prompt": "q", "completion": "a", "labeler": odd},
    ]  # fmt: skip
    client = sign_in(admin)
    page = send(client, project, "a.jsonl", "\n".join(map(json.dumps, rows)).encode()).text
    confirm(client, f"/p/{project.slug}/datasets/import", page)
    assert taken() == 4
