"""The audit log: added to and read, never changed."""

import re
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Person, Role
from app.core.db import writing
from tests.conftest import SignIn
from tests.factories import make_person


def some_event(session: Session) -> AuditEvent:
    person = make_person(session, role=Role.admin)
    audit.record(session, person, "person.role", subject=person, role="admin")
    session.flush()
    return session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first() or pytest.fail("nothing recorded")


@pytest.mark.parametrize("change", ["update", "delete", "the object", "replace", "truncate"])
def test_the_database_refuses_every_change_of_a_line(session: Session, change: str) -> None:
    event = some_event(session)
    same: dict[str, Any] = {column.name: getattr(event, column.name) for column in AuditEvent.__table__.columns}
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    statements = {
        "update": update(AuditEvent).values(action="nothing"),
        "delete": delete(AuditEvent),
        "replace": insert(AuditEvent).prefix_with("OR REPLACE").values(same) if is_sqlite else delete(AuditEvent),
        "truncate": delete(AuditEvent) if is_sqlite else text("TRUNCATE audit_event CASCADE"),
    }
    event.details = {"role": "labeler"} if change == "the object" else event.details
    with pytest.raises(DatabaseError, match="can only be added to"):
        session.flush() if change == "the object" else session.execute(statements[change])


def test_an_admin_reads_and_narrows_it(sign_in: SignIn, admin: Person, labeler: Person) -> None:
    with writing() as session:
        accounts.set_role(session, session.get_one(Person, labeler.id), Role.researcher, by=admin)
        audit.record(session, None, "run.stop", subject=labeler, reason="<script>hacked()</script>")
    browser = sign_in(admin)
    whole = browser.get("/audit").text
    assert ("person.role" in whole, admin.name in whole, "the system" in whole) == (True, True, True)
    assert ("<script>hacked" in whole, "&lt;script&gt;hacked" in whole) == (False, True)
    lines = {
        "person.role": {"who": admin.name[:4].upper(), "action": "person.", "subject": str(labeler.id)},
        "run.stop": {"who": "system", "action": "run."},
    }
    for action, narrowed in lines.items():
        found = browser.get("/audit", params=narrowed).text
        assert [f"<code>{each}</code>" in found for each in ("person.role", "run.stop")] == [
            action == "person.role",
            action == "run.stop",
        ]
    assert "Nothing like that" in browser.get("/audit", params={"first": "2999-01-01"}).text
    assert "Nothing like that" in browser.get("/audit", params={"who": "%"}).text


@pytest.mark.parametrize("wrong", [{"first": "soon"}, {"last": "9999-12-31"}, {"subject": "run 7"}])
def test_what_cannot_be_looked_for_is_said_and_stays_typed(
    sign_in: SignIn, admin: Person, wrong: dict[str, str]
) -> None:
    page = sign_in(admin).get("/audit", params=wrong)
    assert (page.status_code, "That is no" in page.text) == (422, True)
    assert f'value="{next(iter(wrong.values()))}"' in page.text


def test_older_lines_are_a_page_further(sign_in: SignIn, admin: Person, labeler: Person) -> None:
    with writing() as session:
        for number in range(audit.SHOWN + 1):
            audit.record(session, admin, "run.stop", subject=labeler, number=f"no. {number}")
    browser = sign_in(admin)
    newest = browser.get("/audit?action=run.").text
    older = browser.get(newest.split('">Older</a>')[0].rsplit('href="', 1)[1].replace("&amp;", "&")).text
    shown = [set(re.findall(r"no\. \d+", page)) for page in (newest, older)]
    assert (len(shown[0]), len(shown[1]), len(shown[0] | shown[1])) == (audit.SHOWN, 1, audit.SHOWN + 1)
    assert "Older" not in older


def test_no_address_changes_it(sign_in: SignIn, admin: Person) -> None:
    browser = sign_in(admin)
    assert {browser.request(method, "/audit").status_code for method in ("POST", "PUT", "PATCH", "DELETE")} == {405}
