"""What routes ask for: a session that reads, or one transaction that writes and commits before the answer leaves."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session

from app.core.db import reading, writing


def get_read_session() -> Iterator[Session]:
    with reading() as session:
        yield session


def get_write_session() -> Iterator[Session]:
    with writing() as session:
        yield session


# scope="function": the exit code (the commit) runs before the response is sent, not after.
ReadSession = Annotated[Session, Depends(get_read_session, scope="function")]
WriteSession = Annotated[Session, Depends(get_write_session, scope="function")]
