"""What routes ask for: a session that reads, or one transaction that writes and commits before the answer leaves."""

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge, Lt
from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app.core.db import reading, writing


def get_read_session() -> Iterator[Session]:
    with reading() as session:
        yield session


def get_write_session() -> Iterator[Session]:
    with writing() as session:
        yield session


async def sent_form(request: Request) -> FormData:
    """A form as it was sent, for pages that show a refused one as it was."""
    return await request.form()


# A whole number of an address or a form: what no database could even compare is refused as no number of ours.
Number = Annotated[int, Ge(-(2**31)), Lt(2**31)]

# scope="function": the exit code (the commit) runs before the response is sent, not after.
ReadSession = Annotated[Session, Depends(get_read_session, scope="function")]
WriteSession = Annotated[Session, Depends(get_write_session, scope="function")]
SentForm = Annotated[FormData, Depends(sent_form)]
