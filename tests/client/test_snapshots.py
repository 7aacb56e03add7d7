"""Snapshots as a script takes them: the same bytes, however often the network fails."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from touchstone import Snapshot, Unreachable

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking
from tests.client.conftest import Connect
from tests.factories import make_prompt

RANKINGS = 40


@pytest.fixture
def rankings(project: Project, labeler: Person) -> None:
    with writing() as session:
        for number in range(RANKINGS):
            make_ranking(
                session, project, labeler, [1, 2], prompt=make_prompt(session, project, text=f"Subject {number}")
            )


class Breaks(httpx.HTTPTransport):
    """A network that breaks a download off after so many bytes, so many times."""

    def __init__(self, *, after: int, times: int) -> None:
        super().__init__()
        self.after, self.times, self.ranges = after, times, list[str]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if "/download" in str(request.url) and request.method == "GET":
            self.ranges.append(request.headers.get("Range", ""))
            if self.times:
                self.times -= 1
                return httpx.Response(answer.status_code, headers=answer.headers, stream=_Broken(answer, self.after))
        return answer


class _Broken(httpx.SyncByteStream):
    def __init__(self, answer: httpx.Response, after: int) -> None:
        self.answer, self.after = answer, after

    def __iter__(self) -> Iterator[bytes]:
        yield b"".join(self.answer.iter_raw())[: self.after]
        raise httpx.ReadError("the cable was pulled")


@pytest.mark.usefixtures("rankings")
def test_a_snapshot_is_frozen_described_and_read(connect: Connect, researcher: Person, project: Project) -> None:
    mine = connect(researcher).project(project.slug)
    frozen = mine.freeze("comparisons", purpose="training")
    assert (frozen.rows, frozen.counts["pairs"], frozen.forms[0]) == (RANKINGS, RANKINGS, "preference")
    assert [each.id for each in mine.snapshots("comparisons")] == [mine.snapshot(frozen.id).id]
    assert isinstance(frozen, Snapshot)
    rows = list(frozen.iter_rows(form="rankings"))
    assert sorted(row["ranks"] for row in rows) == [[1, 2]] * RANKINGS
    assert "#" in frozen.datasheet()
    assert frozen.manifest()["sha256"] == frozen.sha256
    with pytest.raises(ValueError, match="have no form 'text'"):
        frozen.download("x", form="text")


@pytest.mark.usefixtures("rankings")
def test_a_download_goes_on_where_it_broke_off(
    connect: Connect, researcher: Person, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchstone.connection.time.sleep", lambda _: None)
    breaks = Breaks(after=1000, times=3)
    frozen = connect(researcher, faults=breaks).project(project.slug).freeze("comparisons")
    whole = connect(researcher).project(project.slug).snapshot(frozen.id).download(tmp_path / "whole.jsonl")
    broken = frozen.download(tmp_path / "broken.jsonl")
    assert breaks.ranges == ["", "bytes=1000-", "bytes=2000-", "bytes=3000-"]
    assert broken.read_bytes() == whole.read_bytes()
    assert len(list(map(json.loads, whole.read_text().splitlines()))) == RANKINGS
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == ["broken.jsonl", "whole.jsonl"]


@pytest.mark.usefixtures("rankings")
def test_another_call_goes_on_with_what_an_earlier_one_got(
    connect: Connect, researcher: Person, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchstone.connection.time.sleep", lambda _: None)
    breaks = Breaks(after=500, times=5)
    frozen = connect(researcher, faults=breaks).project(project.slug).freeze("comparisons")
    with pytest.raises(Unreachable, match="call again to go on"):
        frozen.download(tmp_path / "pairs.jsonl")
    assert not (tmp_path / "pairs.jsonl").exists()
    rest = frozen.download(tmp_path / "pairs.jsonl")
    assert breaks.ranges[-1] == "bytes=2500-"
    assert len(rest.read_text().splitlines()) == RANKINGS


@pytest.mark.train  # the server's tests run without the package
@pytest.mark.usefixtures("rankings")
def test_its_rows_are_a_dataset(connect: Connect, researcher: Person, project: Project) -> None:
    frozen = connect(researcher).project(project.slug).freeze("comparisons")
    pairs = frozen.dataset(form="preference_conversational", split="train")
    assert len(pairs) == RANKINGS
    assert {"prompt", "chosen", "rejected"} <= set(pairs.column_names)
