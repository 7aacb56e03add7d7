"""E-mail to the admins who want it, by a real SMTP server: over TLS, once each, and again until it is taken."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from threading import Event, Thread

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from pydantic import SecretStr
from sqlalchemy import select

from app.accounts.models import Person, Role
from app.accounts.service import add_person
from app.core import mail
from app.core.config import Settings, SmtpSecurity, WrongSettings, get_settings
from app.core.db import reading, writing
from app.core.errors import Invalid
from app.labeling.leases import lease_next
from app.people.erasure import erase
from app.projects.models import Project
from app.runs import service as runs
from app.webhooks import letters
from app.webhooks.letters import send_due_letters
from app.webhooks.models import DeliveryState, Letter, LetterKind, LetterWish
from tests.app.labeling.rows import make_demonstration_batch
from tests.app.runs.rows import make_running
from tests.conftest import SignIn, forget_settings
from tests.factories import make_person
from tests.ports import free_port

USER, PASSWORD = "touchstone", "a password of the server"


class Mailbox:
    """What the server took; `answers` are its next words to a letter."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], EmailMessage, bool]] = []
        self.answers: list[str] = []
        self.goodbye = "221 Bye"
        self.taken: list[int] = []  # how many letters were some sender's as each came

    async def handle_DATA(self, server: SMTP, session: object, envelope: Envelope) -> str:  # noqa: N802
        self.taken.append(sum(each.attempts > 0 and each.state == DeliveryState.waiting for each in stored()))
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("250"):
            read = message_from_bytes(envelope.content or b"", policy=policy.default)
            assert isinstance(read, EmailMessage)
            self.got.append((envelope.rcpt_tos, read, server.session.ssl is not None))
        return answer

    async def handle_QUIT(self, *_: object) -> str:  # noqa: N802
        return self.goodbye


@pytest.fixture
def mailbox(client: object, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A server that takes letters over TLS, from whom it knows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    kept = Mailbox()

    def _knows(*given: object) -> AuthResult:
        login = given[-1]
        pair = (getattr(login, "login", b""), getattr(login, "password", b""))
        return AuthResult(success=pair == (USER.encode(), PASSWORD.encode()), handled=False)

    port = free_port()
    server = Controller(kept, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True,
                        auth_required=True, authenticator=_knows)  # fmt: skip
    server.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    values = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_user": USER, "smtp_password": SecretStr(PASSWORD)}
    for name, value in {**values, "smtp_from": "Touchstone <touchstone@example.org>"}.items():
        monkeypatch.setattr(get_settings(), name, value)
    yield kept
    server.stop()


def want(project: Project, person: Person, *kinds: LetterKind) -> None:
    with writing() as session:
        letters.wish(session, project, person, [kind.value for kind in kinds])


def fail_a_run(project: Project, name: str = "") -> str:
    with writing() as session:
        run = make_running(session, project)
        run.name = name or run.name
        runs.fail(session, run.id, claim=run.claimed_by or "", reason="CUDA ran out of memory")
        return run.name


def stored() -> list[Letter]:
    with reading() as session:
        return list(session.scalars(select(Letter).order_by(Letter.id)))


def later(**by: float) -> None:
    with writing() as session:
        for letter in session.scalars(select(Letter)):
            letter.next_at -= timedelta(**by)


def test_a_failed_run_is_told_once_to_who_wants_it(project: Project, admin: Person, mailbox: Mailbox) -> None:
    with writing() as session:
        other = make_person(session, role=Role.admin)
    want(project, admin, LetterKind.run_failed)
    want(project, other, LetterKind.batch_stopped)
    name = fail_a_run(project, "Rüben\r\nBcc: evil@example.org")
    assert (send_due_letters(), send_due_letters()) == (1, 0)
    ((to, told, was_tls),) = mailbox.got
    assert (to, was_tls, told["To"], told["Bcc"]) == ([admin.email], True, admin.email, None)
    assert told["Subject"] == f"[{project.name}] The run “{' '.join(name.split())}” failed"
    assert "CUDA ran out of memory" in told.get_content()
    assert f"/p/{project.slug}/runs/" in told.get_content()
    (letter,) = stored()
    assert (letter.state, str(letter.id) in told["Message-ID"]) == (DeliveryState.delivered, True)


def test_a_stop_cord_is_told_with_its_reason(
    project: Project, admin: Person, labeler: Person, mailbox: Mailbox, sign_in: SignIn
) -> None:
    want(project, admin, LetterKind.batch_stopped)
    with writing() as session:
        batch = make_demonstration_batch(session, project)
        held = lease_next(session, labeler, project)
    assert held is not None
    said = {"kind": "stop_cord", "reason": "Text is broken or cut off"}
    sign_in(labeler).post(f"/p/{project.slug}/assignments/{held.id}/report", data=said)
    send_due_letters()
    ((_, told, _),) = mailbox.got
    assert told["Subject"] == f"[{project.name}] “{batch.name}” was stopped"
    assert "Text is broken or cut off" in told.get_content()
    address = f"/p/{project.slug}/labeling/batches/{batch.id}"
    assert (address in told.get_content(), sign_in(admin).get(address).status_code) == (True, 200)


def test_what_is_rolled_back_or_ends_well_is_not_told(project: Project, admin: Person, mailbox: Mailbox) -> None:
    want(project, admin, *(LetterKind.run_failed, LetterKind.batch_stopped))
    with pytest.raises(RuntimeError), writing() as session:
        run = make_running(session, project)
        runs.fail(session, run.id, claim=run.claimed_by or "", reason="no")
        raise RuntimeError
    with writing() as session:
        run = make_running(session, project)
        runs.finish(session, run.id, claim=run.claimed_by or "", result={})
    assert (send_due_letters(), stored()) == (0, [])


def test_what_is_not_taken_is_sent_again_as_the_same_letter(project: Project, admin: Person, mailbox: Mailbox) -> None:
    want(project, admin, LetterKind.run_failed)
    fail_a_run(project)
    mailbox.answers = ["451 later"]
    assert (send_due_letters(), mailbox.got) == (1, [])
    assert (stored()[0].state, "451" in (stored()[0].error or ""), send_due_letters()) == ("waiting", True, 0)
    later(seconds=6)
    assert (send_due_letters(), len(mailbox.got), stored()[0].state) == (1, 1, DeliveryState.delivered)
    fail_a_run(project)
    mailbox.answers = ["550 never"] * 20
    for _ in range(20):
        later(days=2)
        send_due_letters()
    assert (stored()[1].state, stored()[1].attempts, len(mailbox.got)) == (DeliveryState.failed, 10, 1)


def test_a_scheduler_that_died_loses_nothing_and_two_at_once_double_nothing(
    project: Project, admin: Person, mailbox: Mailbox
) -> None:
    want(project, admin, LetterKind.run_failed)
    fail_a_run(project)
    with writing() as session:
        taken = letters.take_due(session)
    assert taken is not None
    assert send_due_letters() == 0, "it is someone else's for three minutes"
    later(minutes=4)
    assert send_due_letters() == 1
    with writing() as session:
        letters.settle(session, taken, error="too late")
    assert stored()[0].state == DeliveryState.delivered
    fail_a_run(project)
    later(days=-400)  # written under a clock that ran ahead
    assert send_due_letters() == 1
    for _ in range(5):
        fail_a_run(project)
    both = [Thread(target=send_due_letters) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(mailbox.got) == 7
    assert len({told["Message-ID"] for _, told, _ in mailbox.got}) == 7


def test_nobody_reads_what_they_may_not_read_any_more(project: Project, admin: Person, mailbox: Mailbox) -> None:
    want(project, admin, LetterKind.run_failed)
    fail_a_run(project)
    with writing() as session:
        session.get_one(Person, admin.id).role = Role.labeler
    assert (send_due_letters(), mailbox.got, stored()[0].state) == (1, [], DeliveryState.failed)
    fail_a_run(project)
    assert len(stored()) == 1
    with writing() as session:
        by = make_person(session, role=Role.admin)
        erase(session, session.get_one(Person, admin.id), typed_name=admin.name, by=by)
    with reading() as session:
        assert (stored(), session.scalars(select(LetterWish)).all()) == ([], [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smtp_password": SecretStr("wrong")}, "SMTPAuthenticationError"),
        ({"smtp_security": SmtpSecurity.none, "smtp_user": ""}, "STARTTLS"),
        ({"smtp_security": SmtpSecurity.tls}, "SSLError"),
        ({"smtp_port": 9}, "ConnectionRefusedError"),
        ({"smtp_host": ".mail.example.org"}, "TOUCHSTONE_SMTP_HOST is no name"),
        ({"smtp_user": "Müller"}, "letters that are not ASCII"),
    ],
)
def test_a_server_that_does_not_take_it_is_told_on_the_page(
    project: Project,
    admin: Person,
    mailbox: Mailbox,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    said: str,
) -> None:
    for name, value in change.items():
        monkeypatch.setattr(get_settings(), name, value)
    client = sign_in(admin)
    assert client.post(f"/p/{project.slug}/mail/try").status_code == 303
    send_due_letters()
    page = client.get(f"/p/{project.slug}/mail").text
    assert said in (stored()[0].error or "")
    assert (mailbox.got, said in page, "to be tried again" in page, PASSWORD in page) == ([], True, True, False)


def test_an_address_that_is_none_holds_up_no_letter_behind_it(
    project: Project, admin: Person, mailbox: Mailbox
) -> None:
    want(project, admin, LetterKind.run_failed)
    with writing() as session:
        odd = make_person(session, role=Role.admin)
        odd.email = "a@[x.org"
    want(project, odd, LetterKind.run_failed)
    fail_a_run(project)
    assert (send_due_letters(), [to for to, _, _ in mailbox.got]) == (2, [[admin.email]])
    assert sorted(letter.state for letter in stored()) == [DeliveryState.delivered, DeliveryState.waiting]


@pytest.mark.parametrize(
    "odd", ["a,b@x.org", "a<b>@x.org", "a;@x.org", "a@[x.org", '"a"@x.org', "a\\b@x.org", "a@(x).org"]
)
def test_an_address_that_means_something_else_in_a_letter_is_refused(odd: str, client: object) -> None:
    with writing() as session, pytest.raises(Invalid, match="is not an e-mail address"):
        add_person(session, odd, name="Odd", role=Role.admin)


def test_an_older_address_with_a_comma_is_one_reader(installation: Settings) -> None:
    to = mail.message_to("a,b@x.org", subject="", text="", message_id="1")["To"]
    assert [each.addr_spec for each in to.addresses] == ['"a,b"@x.org']


def test_what_was_taken_is_sent_whatever_goodbye_brings_and_each_is_taken_in_its_turn(
    project: Project, admin: Person, mailbox: Mailbox
) -> None:
    want(project, admin, LetterKind.run_failed)
    for _ in range(3):
        fail_a_run(project)
    mailbox.goodbye = "421 too busy"
    assert (send_due_letters(), mailbox.taken) == (3, [1, 1, 1])
    assert {letter.state for letter in stored()} == {DeliveryState.delivered}


def test_a_mistake_of_ours_does_not_end_the_sending(caplog: pytest.LogCaptureFixture) -> None:
    from workers.scheduler import _tell

    asked_to_stop, tries = Event(), list[int]()

    def mistaken() -> int:
        tries.append(1)
        asked_to_stop.set()
        raise ValueError("ours")

    _tell(asked_to_stop, mistaken)
    assert (len(tries), "goes on after a mistake of ours" in caplog.text) == (1, True)


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    project: Project, admin: Person, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with writing() as session:
        letters.try_it(session, project, admin)
    send_due_letters()
    assert (mailbox.got, "CERTIFICATE_VERIFY_FAILED" in (stored()[0].error or "")) == ([], True)


def test_each_admin_chooses_on_the_page(
    project: Project, admin: Person, researcher: Person, mailbox: Mailbox, sign_in: SignIn
) -> None:
    page = f"/p/{project.slug}/mail"
    assert sign_in(researcher).get(page).status_code == 403
    client = sign_in(admin)
    assert "Nobody yet" in client.get(page).text
    assert client.post(page, data={"kinds": ["run_failed"]}).status_code == 303
    shown = client.get(page).text
    assert ('value="run_failed" checked' in shown, 'value="batch_stopped" checked' in shown) == (True, False)
    assert client.post(page, data={"kinds": ["trial"]}).status_code == 422
    client.post(f"{page}/try")
    send_due_letters()
    assert "handed to the server" in client.get(page).text
    client.post(page, data={})
    assert "Nobody yet" in client.get(page).text


def test_without_a_server_nothing_is_written(project: Project, admin: Person, sign_in: SignIn) -> None:
    want(project, admin, LetterKind.run_failed)
    fail_a_run(project)
    page = sign_in(admin).get(f"/p/{project.slug}/mail").text
    assert (stored(), send_due_letters(), "No e-mail is sent from here yet" in page) == ([], 0, True)
    assert sign_in(admin).post(f"/p/{project.slug}/mail/try").status_code == 409


def test_a_server_needs_an_address_to_write_from(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_SMTP_HOST", "mail.example.org")
    forget_settings()
    with pytest.raises(WrongSettings, match="needs TOUCHSTONE_SMTP_FROM"):
        get_settings()
