"""The page on which people sign in: by the provider of single sign-on, by password, or by either."""

from fastapi import Request, Response

from app.accounts.cookies import local_path
from app.core.config import Passwords, get_settings
from app.core.errors import DomainError
from app.core.pages import render


def sign_in_form(request: Request, then: str, *, email: str = "", error: DomainError | None = None) -> Response:
    """As it was typed, but for the password."""
    return render(
        request,
        "accounts/sign_in.html",
        status=error.status if error else 200,
        then=local_path(then),
        email=email,
        error=error,
        is_for_admins=get_settings().passwords is Passwords.admins,
    )
