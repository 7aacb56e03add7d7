"""Database work that outlasts a database's absence."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from tests.conftest import forget_settings
from workers.jobs.patience import patiently


@pytest.fixture
def _on_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOUCHSTONE_DATABASE_URL", postgres_url)
    forget_settings()
    yield
    forget_settings()


@pytest.mark.usefixtures("_on_postgresql")
def test_a_connection_cut_in_the_middle_is_made_again() -> None:
    tries = 0

    def work(session: Session) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return session.scalars(text("SELECT 7")).one()

    assert patiently(work) == 7
    assert tries == 3


@pytest.mark.usefixtures("_on_postgresql")
def test_patience_ends() -> None:
    def work(session: Session) -> None:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(OperationalError):
        patiently(work, patience=0.2)


@pytest.mark.parametrize("on", ["_on_postgresql", "installation"])
def test_a_mistake_is_not_tried_again(on: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(on)
    tries = 0

    def work(session: Session) -> None:
        nonlocal tries
        tries += 1
        session.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises((ProgrammingError, OperationalError), match="no_such_table"):
        patiently(work)
    assert tries == 1
