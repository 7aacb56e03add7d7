"""The artefact store as a folder and as a bucket of S3: whole or not at all, and in words when it can't be used."""

import threading
from pathlib import Path

import httpx
import pytest
import s3fs
from fastapi.testclient import TestClient

from app.core import readiness
from app.core.errors import NotFound
from app.core.storage import MARK, Artefacts, get_artefacts
from app.core.store_errors import StoreAway


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Artefacts:
    if request.param == "s3":
        found: Artefacts = request.getfixturevalue("s3_store")
        return found
    return Artefacts(str(tmp_path / "artefacts"), tmp_path / "cache")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "adapter").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "adapter" / "weights").write_bytes(b"w" * 100)
    return folder


WHOLE = [("adapter/weights", 100), ("config.json", 2)]


def test_a_file_is_there_whole_or_not_at_all(store: Artefacts) -> None:
    with store.writing("uploads/one") as file:
        file.write(b"all of it")
    with pytest.raises(ZeroDivisionError), store.writing("uploads/two") as file:
        file.write(b"half of it" * 2**20 * 6)  # more than goes in one piece
        raise ZeroDivisionError
    assert list(store.everything()) == [("uploads/one", 9)]
    assert (store.exists("uploads/one"), store.exists("uploads/two"), store.size("uploads/one")) == (True, False, 9)
    assert b"".join(store.blocks("uploads/one", 4)) == b"of it"
    with store.local_file("uploads/one") as path:
        assert path.read_bytes() == b"all of it"
    store.remove("uploads/one")
    with pytest.raises(NotFound), store.reading("uploads/one"):
        pass


def test_a_folder_comes_back_and_goes(store: Artefacts, model: Path) -> None:
    store.put_folder("models/a", model)
    store.put_folder("models/ab", model)
    assert store.files("models/a") == WHOLE
    assert (store.folder("models/a") / "adapter" / "weights").read_bytes() == b"w" * 100
    store.remove("models/a")
    assert not store.exists("models/a")
    assert store.exists("models/ab")
    assert [key for key, _ in store.everything()] == [f"models/ab/{name}" for name, _ in WHOLE]


def test_a_folder_half_put_into_a_bucket_is_not_there(s3_store: Artefacts, model: Path) -> None:
    """As a worker leaves it that is killed while it puts a model, or removes one."""
    s3_store.put_folder("models/a", model)
    s3_store.fs.pipe_file(s3_store._path(f"models/a/{MARK}"), b"")
    s3_store.fs.rm_file(s3_store._path("models/a/config.json"))
    assert not s3_store.exists("models/a")
    assert list(s3_store.everything()) == s3_store.files("models/a") == []
    with pytest.raises(NotFound):
        s3_store.folder("models/a")
    s3_store.put_folder("models/a", model)
    assert s3_store.files("models/a") == WHOLE


def test_what_another_process_puts_is_seen_at_once(s3_store: Artefacts, bucket: str, model: Path) -> None:
    other = Artefacts(bucket, s3_store.cache / "other")
    assert (other.exists("models/a"), other.files("models"), list(other.everything())) == (False, [], [])
    s3_store.put_folder("models/a", model)
    assert other.exists("models/a")
    assert len(list(other.everything())) == 2
    s3_store.remove("models/a")
    assert not other.exists("models/a")


def test_several_that_fetch_the_same_folder_at_once_get_it_whole(s3_store: Artefacts, model: Path) -> None:
    s3_store.put_folder("models/a", model)
    sizes: list[int] = []
    start = threading.Barrier(6)

    def fetch() -> None:
        start.wait()
        sizes.append((s3_store.folder("models/a") / "adapter" / "weights").stat().st_size)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sizes == [100] * 6
    assert [path.name for path in (s3_store.cache / "models").iterdir()] == ["a"]


def test_a_bucket_that_is_not_there_is_said(s3_environment: str, tmp_path: Path) -> None:
    nowhere = Artefacts("s3://nowhere-at-all", tmp_path)
    with pytest.raises(StoreAway, match="bucket does not exist"):
        nowhere.try_writing("x")
    with pytest.raises(StoreAway, match="bucket does not exist"), nowhere.writing("x") as file:
        file.write(b"x")


def test_credentials_that_may_nothing_are_said(s3_store: Artefacts, s3_server: str) -> None:
    httpx.post(f"{s3_server}/moto-api/reset-auth", content="0")  # from now on it looks who asks
    try:
        for attempt in (lambda: s3_store.exists("x"), lambda: s3_store.try_writing("x"), lambda: s3_store.files("x")):
            with pytest.raises(StoreAway, match="refuses these credentials"):
                attempt()
    finally:
        httpx.post(f"{s3_server}/moto-api/reset-auth", content="inf")


def test_a_store_that_is_away_is_said_by_readyz(
    store_in_s3: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/readyz").json()["parts"]["artefacts"] == readiness.OK
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    get_artefacts.cache_clear()
    with pytest.raises(StoreAway, match="does not answer"):
        get_artefacts().exists("models/a")
    found = readiness.look_at_artefacts()
    assert found.is_needed
    assert found.words.startswith("takes no files. The artefact store does not answer")
    assert "127.0.0.1" not in found.words
