"""How much of a request is read, and of whom: FastAPI reads a body before it asks who sends it, so without this anyone
could fill the memory with JSON, or the disk with files."""

from anyio.to_thread import run_sync
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.accounts.deps import optional_person
from app.accounts.models import Role
from app.core.config import get_settings
from app.core.errors import SignInNeeded
from app.core.outages import outages_in_words
from app.core.security import SAFE_METHODS

MIB = 2**20
OF_ANYONE, OF_THE_SIGNED_IN = 1 * MIB, 16 * MIB  # what is larger are files, and those are admins' to send


class BodyLimit:
    """Middleware within Guard. What arrives is measured too: a body that comes in pieces may say what it likes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
        else:
            await self.app(scope, _Measured(scope, receive), send)


class _Measured:
    """The body's pieces, as long as whoever sends them may send so many."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive
        self._size, self._most = max(0, _said_length(scope)), OF_ANYONE
        self._read, self._has_asked = 0, False

    async def __call__(self) -> Message:
        await self._check(self._size)
        message = await self._receive()
        self._read += len(message.get("body", b""))
        await self._check(self._read)
        return message

    async def _check(self, size: int) -> None:
        if size > self._most and not self._has_asked:
            self._has_asked = True
            self._most = await run_sync(_most_of, self._scope)
        if size > self._most:
            raise HTTPException(413, f"What you sent is larger than {self._most // MIB:,} MiB.")


def _said_length(scope: Scope) -> int:
    """What the request says of its body's length; -1 where it does not, or says something else."""
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(said) if said.isdigit() and len(said) < 19 else -1


def _most_of(scope: Scope) -> int:
    """How much its sender may send. Raises what keeps them from sending any: a token that has asked too often, say."""
    with outages_in_words():
        person = optional_person(Request(scope))
    if person is None:
        raise SignInNeeded(
            f"You sent more than {OF_ANYONE // MIB} MiB and are not signed in, or your sign-in has run out.",
            mend="Sign in, then send it again.",
        )
    settings = get_settings()
    is_form = any(n == b"content-type" and v.startswith(b"multipart/form-data") for n, v in scope["headers"])
    if person.role != Role.admin or not is_form:
        return OF_THE_SIGNED_IN
    return max(OF_THE_SIGNED_IN, (max(settings.prompt_file_mib, settings.upload_mib) + 1) * MIB)  # and its other fields
