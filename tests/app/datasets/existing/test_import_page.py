"""The page that imports labels: a preview first, errors in words, nothing typed lost."""

import gzip
import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.db import reading
from app.datasets.export_files import export
from app.datasets.exports import ExportForm, FileType
from app.datasets.models import SnapshotKind
from app.labeling.models import Ranking
from app.projects.models import Project
from tests.app.datasets.existing.test_taking import RANKED, WRITTEN
from tests.app.datasets.test_exports import ROWS
from tests.conftest import SignIn

LINES = "\n".join(json.dumps(row) for row in (RANKED, WRITTEN, {"odd": 1}))


def hidden(page: str, name: str) -> str:
    return page.split(f'name="{name}" value="')[1].split('"')[0]


def confirm(client: TestClient, address: str, page: str) -> str:
    fields = {name: hidden(page, name) for name in ("upload", "form", "source", "shape")}
    answer = client.post(f"{address}/confirm", data=fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_only_admins_import(client: TestClient, sign_in: SignIn, researcher: Person, project: Project) -> None:
    address = f"/p/{project.slug}/datasets/import"
    assert client.get(address).status_code == 303
    client = sign_in(researcher)
    assert client.get(address).status_code == client.post(address, data={"pasted": LINES}).status_code == 403
    assert "Import labels" not in client.get(f"/p/{project.slug}/datasets").text


def test_a_packed_file_is_shown_and_then_taken(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, address = sign_in(admin), f"/p/{project.slug}/datasets/import"
    packed = {"file": ("some.jsonl.gz", gzip.compress(LINES.encode()), "application/gzip")}
    page = client.post(address, files=packed).text
    for words in ("2 rankings", "1 demonstration", "1 refused", "A = B &gt; C", "is of no known shape", "(nothing)"):
        assert words in page
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Ranking)) == 0
    listed = client.get(confirm(client, address, page)).text
    assert "2 rankings and 1 demonstration were imported" in listed
    again = client.post(address, files=packed).text
    assert "All of it is here already" in again
    assert "some.jsonl.gz" in client.get(f"/p/{project.slug}/labeling").text


HEAD = "\n\nHuman: Where is the dog?\n\nAssistant:"
TABLES = {
    "hh.csv": f'chosen,rejected\n"{HEAD} Home.","{HEAD} Gone."\n'.encode(),
    "ours.parquet": b"".join(export(SnapshotKind.comparisons, ROWS[SnapshotKind.comparisons][:1],
                                    form=ExportForm.rankings, file_type=FileType.parquet)),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("is_packed", [False, True])
def test_tables_are_taken(sign_in: SignIn, admin: Person, project: Project, name: str, is_packed: bool) -> None:
    client, address = sign_in(admin), f"/p/{project.slug}/datasets/import"
    content = gzip.compress(TABLES[name]) if is_packed else TABLES[name]
    page = client.post(address, files={"file": (name + ".gz" * is_packed, content)}).text
    assert "1 ranking and 0 demonstrations were imported" in client.get(confirm(client, address, page)).text


def test_what_cannot_be_read_is_said_and_what_was_typed_stays(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, address = sign_in(admin), f"/p/{project.slug}/datasets/import"
    broken = {"file": ("some.jsonl.gz", b"\x1f\x8b\x08broken", "application/gzip")}
    answer = client.post(address, files=broken)
    assert (answer.status_code, "can&#39;t be unpacked" in answer.text) == (422, True)
    typed = {"pasted": '{"prompt": "kept"', "shape": "pairs", "simulated": "true"}
    page = client.post(address, data=typed).text
    assert "is not JSON" in page
    assert "{&#34;prompt&#34;: &#34;kept&#34;" in page
    assert '<option value="pairs" selected>' in page
    assert "None of these rows can be taken" in page
    gone = client.post(f"{address}/confirm", data={"upload": "0" * 64, "form": "jsonl"})
    assert (gone.status_code, "is not here any more" in gone.text) == (404, True)
