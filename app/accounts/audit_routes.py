"""The page on which admins read the audit log. There is none on which anybody changes it."""

import uuid
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.accounts import audit
from app.accounts.audit import AuditFilter
from app.accounts.deps import Admin
from app.core.deps import ReadSession
from app.core.errors import DomainError
from app.core.pages import render

router = APIRouter()
Typed = Annotated[str, Query(max_length=200)]


@router.get("/audit")
def audit_page(
    request: Request,
    session: ReadSession,
    _: Admin,
    who: Typed = "",
    action: Typed = "",
    subject: Typed = "",
    first: Typed = "",
    last: Typed = "",
    after: uuid.UUID | None = None,
) -> Response:
    wanted, error, cursor = AuditFilter(who, action, subject, first, last), None, None
    lines: list[audit.AuditLine] = []
    try:
        lines, cursor = audit.read_log(session, wanted, after=after)
    except DomainError as wrong:
        error = wrong
    typed = {"who": who, "action": action, "subject": subject, "first": first, "last": last}
    older = urlencode({name: value for name, value in {**typed, "after": cursor or ""}.items() if value})
    return render(
        request, "accounts/audit.html", status=error.status if error else 200, error=error, lines=lines, wanted=wanted,
        older=older if cursor else "", is_narrowed=any(typed.values()), is_first=after is None,
    )  # fmt: skip
