"""What every address for scripts shares: lists by cursor, answers that need not be sent twice, problems described."""

import hashlib
import uuid
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

MOST_ON_A_PAGE = 500
T = TypeVar("T")

After = Annotated[uuid.UUID | None, Query(description="`next` of the page before; none: the first page.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ON_A_PAGE, description="How many at most.")]


class Page(BaseModel, Generic[T]):
    """A part of a list. However long one reads on, no row is given twice."""

    items: list[T]
    next: uuid.UUID | None = Field(description="Give it as `after` for the next page; none: this was the last.")


class Problem(BaseModel):
    """Every error (RFC 9457): what is wrong, and what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    mend: str = Field(description="What to do; empty where nothing can be done.")
    fields: dict[str, str] = Field(description="What is wrong with each field that is.")


class ApiRoute(APIRoute):
    """Its answers to GET carry an ETag: who shows it again is told that nothing has changed (RFC 9110, 13)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_tagged(request: Request) -> Response:
            response = await handle(request)
            return _tagged(request, response) if request.method == "GET" and response.status_code == 200 else response

        return handle_tagged


def _tagged(request: Request, response: Response) -> Response:
    etag = f'W/"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


def is_known(request: Request, etag: str) -> bool:
    """Whether who asks shows that they have what this ETag names."""
    known = request.headers.get("If-None-Match", "")
    shown = (each.strip().removeprefix("W/") for each in known.split(","))
    return known.strip() == "*" or etag.removeprefix("W/") in shown
