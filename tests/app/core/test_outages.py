"""A database or a disk that is full, read-only or away: who asks is told in words, and loses nothing."""

import errno
import threading
import uuid
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import OperationalError

from app.accounts.access import ANYONE
from app.accounts.models import Person
from app.core import turns
from app.core.config import Settings
from app.core.db import get_engine, reading, writing
from app.core.outages import DiskFull, Outage, outage
from app.core.storage import Artefacts, StoreRefuses
from app.labeling.models import Assignment, AssignmentState, Demonstration
from app.projects.models import Project
from tests.app.labeling.rows import make_demonstration_batch
from tests.conftest import SignIn
from tests.factories import make_person
from tests.full_disk import BIG, full_disk


@pytest.fixture
def installation_url(database_url: str) -> str:
    return database_url


@pytest.fixture
def desk(sign_in: SignIn, labeler: Person, project: Project) -> TestClient:
    with writing() as session:
        make_demonstration_batch(session, project)
    return sign_in(labeler)


def leased(desk: TestClient, project: Project) -> str:
    return str(desk.get(f"/api/v1/projects/{project.slug}/desk").json()["assignment"]["id"])


def stored() -> tuple[list[str], AssignmentState]:
    with reading() as session:
        texts = list(session.scalars(select(Demonstration.text)))
        return texts, session.scalars(select(Assignment.state)).one()


def test_on_a_full_disk_a_submission_is_refused_in_words_and_taken_once_there_is_room(
    desk: TestClient, project: Project
) -> None:
    item = leased(desk, project)
    body = {"submission_key": str(uuid.uuid4()), "text": BIG}
    assert desk.put(f"/api/v1/assignments/{item}/draft", json={"text": "Once"}).status_code == 200
    with full_disk(get_engine()):
        refused = desk.post(f"/api/v1/assignments/{item}/submit", json=body)
    assert (refused.status_code, refused.headers["Retry-After"]) == (507, "5")
    assert refused.json()["detail"] == "The server’s disk is full, so this is not stored."
    assert "free space" in refused.json()["mend"]
    assert stored() == ([], AssignmentState.leased)
    with reading() as session:
        assert session.scalars(select(Assignment.draft)).one()["text"] == "Once"
    for _ in range(2):
        assert desk.post(f"/api/v1/assignments/{item}/submit", json=body).status_code == 200
    assert stored() == ([BIG.strip()], AssignmentState.submitted)


def test_without_scripts_the_page_comes_back_as_it_was_typed(desk: TestClient, project: Project) -> None:
    item = leased(desk, project)
    typed = {"submission_key": str(uuid.uuid4()), "text": BIG + "The very end."}
    with full_disk(get_engine()):
        page = desk.post(f"/p/{project.slug}/assignments/{item}", data=typed)
    assert page.status_code == 507
    assert "The server’s disk is full" in page.text
    assert "The very end.</textarea>" in page.text
    assert typed["submission_key"] in page.text


def test_a_database_that_took_no_changes_for_a_while_takes_them_again(desk: TestClient, project: Project) -> None:
    """SQLite opens a read-only file without a word, and a pool would keep that connection for good."""
    item = leased(desk, project)
    sqlite = get_engine().dialect.name == "sqlite"
    with get_engine().connect() as connection:
        connection.execute(text("PRAGMA query_only = ON" if sqlite else "SELECT 1"))
        connection.commit()
    if not sqlite:
        with writing() as session:
            session.execute(text(f"ALTER DATABASE {get_engine().url.database} SET default_transaction_read_only = on"))
        get_engine().dispose()
    refused = desk.put(f"/api/v1/assignments/{item}/draft", json={"text": "Once"})
    assert (refused.status_code, "takes no changes" in refused.json()["detail"]) == (503, True)
    if not sqlite:
        assert "read-only" in desk.get("/readyz").json()["parts"]["database"]
        with writing() as session:
            session.execute(text("SET TRANSACTION READ WRITE"))
            session.execute(text(f"ALTER DATABASE {get_engine().url.database} RESET default_transaction_read_only"))
        get_engine().dispose()
    assert desk.put(f"/api/v1/assignments/{item}/draft", json={"text": "Once"}).status_code == 200


def test_a_writer_that_was_frozen_in_its_turn_does_not_hang_the_others(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.db import make_engine

    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    engine, other = make_engine(sqlite_url), Path(f"{sqlite_url.removeprefix('sqlite:///')}-writers")
    with other.open("w") as line:
        turns.fcntl.flock(line, turns.fcntl.LOCK_EX)
        with pytest.raises(OperationalError, match="another process has been writing"), writing(engine) as session:
            make_person(session)
    entered, done = threading.Event(), threading.Event()

    def dawdle() -> None:
        with writing(engine) as session:
            make_person(session)
            entered.set()
            done.wait(30)

    slow = threading.Thread(target=dawdle)
    slow.start()
    entered.wait(30)
    with pytest.raises(OperationalError, match="no turn to write"), writing(engine) as session:
        make_person(session)
    done.set()
    slow.join()
    with writing(engine) as session:
        make_person(session)
    engine.dispose()


def test_a_line_that_cannot_be_opened_is_the_databases_refusal(installation: Settings, engine: Engine) -> None:
    """So that workers wait for it instead of failing their run."""
    if engine.dialect.name != "sqlite":
        return
    line = Path(f"{engine.url.database}-writers")
    line.unlink(missing_ok=True)
    line.mkdir()
    with pytest.raises(OperationalError) as caught, writing(engine) as session:
        make_person(session)
    told = outage(caught.value)
    assert told is not None
    assert told.status == 503


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [(errno.ENOSPC, DiskFull, "is full"), (errno.EROFS, Outage, "takes no changes"), (errno.EIO, Outage, "disk fails")],
)
def test_what_the_disk_says_is_told(number: int, kind: type[Outage], words: str) -> None:
    told = outage(OSError(number, "said by the kernel"))
    assert type(told) is kind
    assert words in told.message


def test_a_mistake_of_ours_is_no_outage() -> None:
    assert outage(ValueError("wrong")) is None
    assert outage(FileNotFoundError(errno.ENOENT, "no such template")) is None
    assert outage(FileNotFoundError(errno.ENOENT, "no such file", "/srv/readonly/disk is full/disk i/o error")) is None
    assert outage(PermissionError(errno.EACCES, "not yours")) is None  # 13, as SQLite's "full" is


def test_a_store_that_is_away_is_named_and_nothing_half_is_left(tmp_path: Path) -> None:
    store = Artefacts(str(tmp_path / "store"), cache=tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"1")
    (tmp_path / "model" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreRefuses, match="Writing models/1 failed"):
        store.put_folder("models/1", tmp_path / "model")
    assert list((tmp_path / "store" / "models").iterdir()) == []
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(StoreRefuses, match="is not there"):
        store.folder("models/1")
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreRefuses) as refused, store.writing("snapshots/1") as file:
        file.write(b"1")
    assert refused.value.status == 503


def test_a_disk_that_fills_while_an_upload_is_read_is_no_fault_of_the_upload(client: TestClient) -> None:
    """What is large is read into a passing file, and FastAPI calls any error of that one of the body."""
    broken = HTTPException(400, "There was an error parsing the body")
    broken.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    app = cast(FastAPI, client.app)

    @app.post("/upload-of-a-test", dependencies=[ANYONE])
    async def upload() -> None:
        raise broken

    assert client.post("/upload-of-a-test").status_code == 507
