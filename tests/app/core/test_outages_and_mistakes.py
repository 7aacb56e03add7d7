"""A statement that is wrong is our mistake, whatever the database's library calls it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.core.db import reading
from app.core.outages import outage


@pytest.fixture
def installation_url(database_url: str) -> str:
    return database_url


@pytest.mark.parametrize("wrong", ["SELECT 1 FROM readonly", "SELECT missing FROM person", "SELEC 1"])
def test_a_statement_that_is_wrong_is_no_outage(installation: Settings, wrong: str) -> None:
    with pytest.raises(DBAPIError) as caught, reading() as session:
        session.execute(text(wrong))
    assert outage(caught.value) is None
