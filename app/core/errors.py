"""Errors that a person can cause, each with its status; rendered once, in app.main."""

from http import HTTPStatus


class DomainError(Exception):
    """What is wrong, and what to do about it, in words for the person who caused it."""

    status = HTTPStatus.BAD_REQUEST
    title = "That did not work"

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


class NotFound(DomainError):
    status = HTTPStatus.NOT_FOUND
    title = "Not found"


class Forbidden(DomainError):
    status = HTTPStatus.FORBIDDEN
    title = "Not allowed"


class SignInNeeded(DomainError):
    status = HTTPStatus.UNAUTHORIZED
    title = "Please sign in"


class Conflict(DomainError):
    status = HTTPStatus.CONFLICT
    title = "That has changed meanwhile"


class TooMany(DomainError):
    """More requests than are allowed; `seconds` until there is room again."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many requests"

    def __init__(self, message: str, *, seconds: int, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.seconds = seconds


class Invalid(DomainError):
    """A form, file or body with wrong fields. `fields` maps a field's name to what is wrong with it."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "Please check what you entered"

    def __init__(self, message: str, *, mend: str = "", fields: dict[str, str] | None = None) -> None:
        super().__init__(message, mend=mend)
        self.fields = fields or {}
