"""Sign-ins are rows: each is seen, ends by itself, and can be ended."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, func, select, update

from app.accounts import sessions
from app.accounts.models import AuditEvent, Person, SignIn
from app.accounts.sessions import Computer, in_words
from app.core.clock import now
from app.core.config import get_settings
from app.core.db import get_engine, reading, writing
from app.projects.models import Project
from tests.conftest import SignIn as SignInAs

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1"  # noqa: E501
LAPTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def begin(person: Person, agent: str = LAPTOP, address: str = "192.0.2.7") -> str:
    with writing() as session:
        return sessions.start_session(session, person, Computer(address, agent))


def lasts(token: str) -> bool:
    with reading() as session:
        return sessions.person_of_token(session, token) is not None


def age(**changed: timedelta) -> None:
    with writing() as session:
        for name, by in changed.items():
            session.execute(update(SignIn).values({name: now() - by}))


def test_they_are_listed_with_device_and_address_and_ended(
    client: TestClient, sign_in: SignInAs, labeler: Person, admin: Person
) -> None:
    phone, other, someone = begin(labeler, PHONE, "198.51.100.9"), begin(labeler), begin(admin, LAPTOP, "203.0.113.3")
    sign_in(labeler)
    page = client.get("/me/sign-ins").text
    assert ("Safari on an iPhone" in page, "198.51.100.9" in page, page.count("this one")) == (True, True, 1)
    assert "203.0.113.3" not in page
    ids = {}
    with reading() as session:
        for row in session.scalars(select(SignIn)):
            ids[row.address] = row.id
    assert client.post(f"/me/sign-ins/{ids['203.0.113.3']}/end").status_code == 404, "others' are not theirs to end"
    client.post(f"/me/sign-ins/{ids['198.51.100.9']}/end")
    assert (lasts(phone), lasts(other), lasts(someone)) == (False, True, True)
    client.post("/me/sign-ins/end-others")
    assert (lasts(other), lasts(someone), client.get("/me/sign-ins").status_code) == (False, True, 200)
    client.post(f"/me/sign-ins/{ids['']}/end")
    assert client.get("/me/sign-ins").headers["location"].startswith("/sign-in")


def test_an_admin_ends_all_of_a_person_on_record(
    sign_in: SignInAs, labeler: Person, researcher: Person, admin: Person
) -> None:
    tokens = [begin(labeler), begin(labeler)]
    assert sign_in(researcher).post(f"/people/{labeler.id}/sign-out").status_code == 403
    client = sign_in(admin)
    assert "signed in on 2 computers" in client.get(f"/people/{labeler.id}").text
    assert client.post(f"/people/{labeler.id}/sign-out").status_code == 303
    assert [lasts(token) for token in tokens] == [False, False]
    with reading() as session:
        done = session.scalars(select(AuditEvent).where(AuditEvent.action == "person.sign_ins_ended")).one()
    assert (done.person_id, done.subject_id, done.details) == (admin.id, labeler.id, {"count": 2})


def test_they_run_out_after_days_and_sooner_without_use(labeler: Person) -> None:
    token, settings = begin(labeler), get_settings()
    age(last_seen_at=timedelta(hours=settings.session_idle_hours - 1))
    assert lasts(token)
    age(last_seen_at=timedelta(hours=settings.session_idle_hours))
    assert not lasts(token)
    age(last_seen_at=timedelta(0), expires_at=timedelta(seconds=1))
    assert not lasts(token)
    begin(labeler)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SignIn)) == 1, "those that ran out are forgotten"


@pytest.mark.parametrize("path", ["/me", "/api/v1/projects", "/p/{}/desk"])
def test_use_is_noted_every_few_minutes(
    client: TestClient, sign_in: SignInAs, labeler: Person, project: Project, path: str
) -> None:
    sign_in(labeler)
    age(last_seen_at=timedelta(hours=2))
    for _ in range(2):
        client.get(path.format(project.slug))
    with reading() as session:
        assert now() - session.scalars(select(SignIn.last_seen_at)).one() < timedelta(minutes=1)
    written: list[str] = []
    event.listen(get_engine(), "before_cursor_execute", lambda *a: written.append(a[2]))
    client.get("/me")
    assert not [each for each in written if each.startswith("UPDATE sign_in")]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (PHONE, "Safari on an iPhone"),
        (LAPTOP, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 16) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18 Safari/605.1.15", "Safari on a Mac"),
        ("", "An unknown program"),
    ],
)
def test_a_device_is_told_in_words(agent: str, words: str) -> None:
    assert in_words(agent) == words
