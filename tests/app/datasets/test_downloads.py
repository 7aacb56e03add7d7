"""A download that broke off goes on where it was, and never joins two different files."""

import hashlib

import pytest
from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.core import storage
from app.core.db import writing
from app.datasets import downloads
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking
from tests.conftest import SignIn

ADDRESSES = [
    "snapshot.parquet",
    *(f"download?form=preference&file_type={each}" for each in ("jsonl", "csv", "parquet")),
]


@pytest.fixture
def page(sign_in: SignIn, researcher: Person, project: Project, labeler: Person, client: TestClient) -> str:
    with writing() as session:
        for _ in range(20):
            make_ranking(session, project, labeler, [1, 2, 3])
    downloads._sizes.clear()
    form = {"kind": "comparisons", "include_simulated": "true"}
    return str(sign_in(researcher).post(f"/p/{project.slug}/datasets", data=form).headers["location"])


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_download_goes_on_at_every_byte(
    client: TestClient, page: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "BLOCK", 100)
    whole = client.get(f"{page}/{address}")
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    size, etag = len(whole.content), whole.headers["etag"]
    for start, end in [(0, 1), (1, 120), (499, 500), (500, 1100), (size - 1, size)]:
        part = client.get(f"{page}/{address}", headers={"Range": f"bytes={start}-{end - 1}", "If-Range": etag})
        assert (part.status_code, part.content) == (206, whole.content[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert (part.headers["content-length"], part.headers["etag"]) == (str(end - start), etag)
    rest = client.get(f"{page}/{address}", headers={"Range": "bytes=700-"})
    assert (rest.status_code, rest.content) == (206, whole.content[700:])
    last = client.get(f"{page}/{address}", headers={"Range": "bytes=-50"})
    assert (last.status_code, last.content) == (206, whole.content[-50:])
    beyond = client.get(f"{page}/{address}", headers={"Range": f"bytes=10-{size + 1000}"})
    assert (beyond.status_code, beyond.content) == (206, whole.content[10:])


@pytest.mark.parametrize("address", ADDRESSES[:2])
def test_what_the_file_does_not_have_is_refused_with_its_size(client: TestClient, page: str, address: str) -> None:
    size = len(client.get(f"{page}/{address}").content)
    for wanted in (f"bytes={size}-", "bytes=-0"):
        refused = client.get(f"{page}/{address}", headers={"Range": wanted})
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}")
        assert refused.content == b""


@pytest.mark.parametrize("address", ADDRESSES[:2])
@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=5-", "If-Range": '"another"'},
        {"Range": "bytes=5-", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"Range": "bytes=0-1,4-5"},
        {"Range": "rows=5-"},
        {"Range": "bytes=-"},
        {"Range": "bytes=9-3"},
    ],
)
def test_what_cannot_go_on_starts_anew(client: TestClient, page: str, address: str, headers: dict[str, str]) -> None:
    whole = client.get(f"{page}/{address}")
    again = client.get(f"{page}/{address}", headers=headers)
    assert (again.status_code, again.content) == (200, whole.content)
    assert "content-range" not in again.headers


@pytest.mark.parametrize("address", ADDRESSES)
def test_head_says_what_would_come(client: TestClient, page: str, address: str) -> None:
    before = client.head(f"{page}/{address}")
    whole = client.get(f"{page}/{address}")
    after = client.head(f"{page}/{address}", headers={"Range": "bytes=5-"})
    assert (before.status_code, after.status_code, before.content, after.content) == (200, 200, b"", b"")
    for name in ("etag", "accept-ranges", "content-disposition", "content-type"):
        assert before.headers[name] == whole.headers[name] == after.headers[name]
    assert after.headers["content-length"] == str(len(whole.content))
    assert before.headers.get("content-length") in (None, str(len(whole.content)))  # an export must be made once first


def test_what_is_there_already_is_not_sent_again(client: TestClient, page: str) -> None:
    etag = client.get(f"{page}/snapshot.parquet").headers["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = client.get(f"{page}/snapshot.parquet", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
    assert client.get(f"{page}/snapshot.parquet", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_whole_files_etag_is_its_hash(client: TestClient, page: str) -> None:
    answer = client.get(f"{page}/snapshot.parquet")
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'


def test_labelers_can_not_even_ask_for_the_size(sign_in: SignIn, labeler: Person, page: str) -> None:
    assert sign_in(labeler).head(f"{page}/snapshot.parquet").status_code == 403


def test_sizes_are_remembered_up_to_a_number(client: TestClient, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MOST_SIZES", 2)
    for split in ("", "&split=train", "&split=valid"):
        client.get(f"{page}/download?form=rankings{split}")
    assert len(downloads._sizes) == 2
