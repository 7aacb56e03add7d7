"""A second factor: turned on by a code, asked for before there is a session, each code good once, guesses counted."""

import re
from datetime import timedelta

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select, text, update
from typer.testing import CliRunner

from app.accounts import second_factor, service, sessions, sign_in_limits, tokens
from app.accounts.models import AuditEvent, Person, RecoveryCode, Role, SecondFactor, SignIn, SignInFailure
from app.cli import app
from app.core.clock import now
from app.core.config import get_settings
from app.core.db import reading, writing
from tests.conftest import SignIn as SignInAs

RIGHT, STEP = "three red boats", "/sign-in/second-step"


@pytest.fixture
def member(labeler: Person) -> Person:
    with writing() as session:
        service.set_password(session.get_one(Person, labeler.id), RIGHT)
        return session.get_one(Person, labeler.id)


def app_of(person: Person) -> pyotp.TOTP:
    """The person's authenticator app."""
    with writing() as session:
        shown = second_factor.begin(session, session.get_one(Person, person.id))
    return pyotp.TOTP(shown.secret.replace(" ", ""))


def turn_on(person: Person) -> tuple[pyotp.TOTP, list[str]]:
    device = app_of(person)
    with writing() as session:
        codes = second_factor.confirm(session, session.get_one(Person, person.id), device.now())
        session.execute(update(SecondFactor).values(last_step=0))  # as if that had been some minutes ago
    return device, codes


def wrong(device: pyotp.TOTP) -> str:
    return next(code for code in ("000000", "111111", "222222", "333333") if not device.verify(code, valid_window=3))


def give_password(client: TestClient, person: Person, then: str = "/me") -> None:
    client.cookies.clear()
    answer = client.post("/sign-in", data={"email": person.email, "password": RIGHT, "then": then})
    assert (answer.status_code, answer.headers["location"]) == (303, STEP)


def is_in(client: TestClient) -> bool:
    return client.get("/me").status_code == 200


def actions(person: Person) -> list[str]:
    with reading() as session:
        query = select(AuditEvent.action).where(AuditEvent.subject_id == person.id).order_by(AuditEvent.id)
        return list(session.scalars(query))


def test_it_is_turned_on_by_a_code_and_ends_other_sign_ins(
    client: TestClient, sign_in: SignInAs, member: Person
) -> None:
    with writing() as session:
        elsewhere = sessions.start_session(session, member)
    page = sign_in(member).get("/me/second-factor")
    secret = re.search(r'copyable">([A-Z2-7 ]+)<', page.text)
    assert (page.status_code, "<svg" in page.text, "style=" in page.text, bool(secret)) == (200, True, False, True)
    device = pyotp.TOTP(secret[1].replace(" ", ""))  # type: ignore[index]
    refused = client.post("/me/second-factor", data={"code": wrong(device)})
    assert (refused.status_code, secret[1] in refused.text) == (422, True), "what was scanned stays"  # type: ignore[index]
    done = client.post("/me/second-factor", data={"code": device.now()})
    codes = re.findall(r"\b\w{4}-\w{4}-\w{4}-\w{4}\b", done.text)
    assert (done.status_code, len(codes)) == (200, second_factor.RECOVERY_CODES)
    assert is_in(client)
    with reading() as session:
        assert sessions.person_of_token(session, elsewhere) is None
        kept = session.execute(text("SELECT sealed_secret FROM second_factor")).scalar_one()
        hashes = list(session.scalars(select(RecoveryCode.code_hash)))
    assert secret[1].replace(" ", "") not in kept  # type: ignore[index]
    assert not set(codes) & set(hashes)
    assert codes[0] not in client.get("/me/second-factor").text
    assert "person.second_factor_on" in actions(member)


def test_there_is_no_session_before_the_code(client: TestClient, member: Person) -> None:
    device, _ = turn_on(member)
    give_password(client, member, "/me/tokens")
    assert not is_in(client)
    with reading() as session:
        assert session.scalars(select(SignIn)).all() == []
    assert client.post(STEP, data={"code": wrong(device)}).status_code == 422
    done = client.post(STEP, data={"code": f" {device.now()[:3]} {device.now()[3:]}"})
    assert (done.status_code, done.headers["location"], is_in(client)) == (303, "/me/tokens", True)
    assert "touchstone_half_way" not in client.cookies


def test_a_code_is_good_once_even_at_once(client: TestClient, member: Person) -> None:
    device, _ = turn_on(member)
    code = device.now()
    give_password(client, member)
    assert client.post(STEP, data={"code": code}).status_code == 303
    give_password(client, member)
    again = client.post(STEP, data={"code": code})
    assert (again.status_code, "used already" in again.text) == (422, True)
    earlier = client.post(STEP, data={"code": device.at(now(), counter_offset=-1)})
    assert earlier.status_code == 422, "nor one that came before"


def test_a_recovery_code_signs_in_once(client: TestClient, member: Person) -> None:
    _, codes = turn_on(member)
    give_password(client, member)
    assert client.post(STEP, data={"code": codes[3].upper().replace("-", " ")}).status_code == 303
    assert f"{second_factor.RECOVERY_CODES - 1} left" in client.get("/me/second-factor").text
    give_password(client, member)
    assert client.post(STEP, data={"code": codes[3]}).status_code == 422
    assert client.post(STEP, data={"code": codes[4]}).status_code == 303
    assert actions(member).count("person.recovery_code_used") == 2


def test_guesses_of_codes_are_counted_and_the_right_password_does_not_wipe_them(
    client: TestClient, member: Person
) -> None:
    device, _ = turn_on(member)
    for _ in range(sign_in_limits.FROM_ONE_ADDRESS_AT_ONE_ACCOUNT - 1):
        give_password(client, member)
        assert client.post(STEP, data={"code": wrong(device)}).status_code == 422
    client.post(STEP, data={"code": wrong(device)})
    refused = client.post(STEP, data={"code": device.now()})
    assert (refused.status_code, is_in(client)) == (429, False)
    assert client.post("/sign-in", data={"email": member.email, "password": RIGHT}).status_code == 429
    with writing() as session:
        session.execute(delete(SignInFailure))
        for number in range(sign_in_limits.CODES_AT_ONE_ACCOUNT):
            sign_in_limits.count_wrong_code(session, member.email, f"10.0.0.{number}")
    assert client.post(STEP, data={"code": device.now()}).status_code == 429, "from wherever they come"


def test_who_is_half_way_in_does_not_outlast_time_nor_a_new_password(
    client: TestClient, member: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, _ = turn_on(member)
    give_password(client, member)
    monkeypatch.setattr("app.accounts.entrance.HALF_WAY_LASTS", timedelta(seconds=-1))
    assert client.get(STEP).headers["location"] == "/sign-in"
    monkeypatch.undo()
    with writing() as session:
        service.set_password(session.get_one(Person, member.id), "four green boats")
    assert client.post(STEP, data={"code": device.now()}).status_code == 401
    client.cookies.set("touchstone_half_way", "gAAAAforged")
    assert client.post(STEP, data={"code": device.now()}).status_code == 401


def test_a_link_for_a_new_password_does_not_pass_it_by(client: TestClient, member: Person) -> None:
    device, _ = turn_on(member)
    with writing() as session:
        link = service.new_sign_in_link(session, member)
    done = client.post(link, data={"password": "four green boats"})
    assert (done.headers["location"], is_in(client)) == (STEP, False)
    assert client.post(STEP, data={"code": device.now()}).status_code == 303
    assert is_in(client)


def test_signing_in_in_place_asks_for_the_code_too(client: TestClient, member: Person) -> None:
    device, _ = turn_on(member)
    typed = {"email": member.email, "password": RIGHT}
    asked = client.post("/api/v1/sign-in", json=typed)
    assert (asked.status_code, "code" in asked.json()["fields"], is_in(client)) == (422, True, False)
    assert client.post("/api/v1/sign-in", json={**typed, "code": wrong(device)}).status_code == 422
    assert client.post("/api/v1/sign-in", json={**typed, "code": device.now()}).status_code == 200
    assert is_in(client)


def test_it_is_turned_off_by_password_and_code(client: TestClient, sign_in: SignInAs, member: Person) -> None:
    device, codes = turn_on(member)
    sign_in(member)
    for password, code, said in (("wrong", device.now(), "password is wrong"), (RIGHT, wrong(device), "code is wrong")):
        refused = client.post("/me/second-factor/off", data={"password": password, "code": code})
        assert (refused.status_code, said in refused.text) == (422, True)
    new = client.post("/me/second-factor/recovery-codes", data={"code": codes[0]})
    assert (new.status_code, codes[1] in new.text) == (200, False)
    assert client.post("/me/second-factor/off", data={"password": RIGHT, "code": device.now()}).status_code == 303
    client.cookies.clear()
    assert client.post("/sign-in", data={"email": member.email, "password": RIGHT}).headers["location"] == "/"
    with reading() as session:
        assert (session.scalars(select(SecondFactor)).all(), session.scalars(select(RecoveryCode)).all()) == ([], [])


def test_a_token_of_a_script_can_not_touch_it(client: TestClient, member: Person) -> None:
    with writing() as session:
        secret = tokens.create_token(session, member, name="export", scope=tokens.Scope.write, days=1)
    headers = {"authorization": f"Bearer {secret}"}
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/off"), ("POST", "/recovery-codes")):
        assert client.request(method, f"/me/second-factor{path}", headers=headers).status_code == 403
    for page in ("sign-ins", "tokens"):
        assert client.get(f"/me/{page}", headers=headers).status_code == 403
    assert client.post("/me/tokens", headers=headers, data={"name": "another"}).status_code == 403


def test_an_admins_token_can_not_take_an_account_over(client: TestClient, admin: Person, member: Person) -> None:
    with writing() as session:
        secret = tokens.create_token(session, admin, name="export", scope=tokens.Scope.write, days=1)
    headers = {"authorization": f"Bearer {secret}"}
    assert client.get(f"/people/{member.id}", headers=headers).status_code == 200
    actions = ("link", "second-factor/reset", "unlink", "role", "erase", "state", "sign-out")
    for what in ("", *(f"/{who.id}/{what}" for who in (admin, member) for what in actions)):
        refused = client.post(f"/people{what}", headers=headers, data={"role": "admin", "state": "paused"})
        assert (what, refused.status_code, "A token can" in refused.text) == (what, 403, True)


def test_an_admin_resets_it_on_record(
    client: TestClient, sign_in: SignInAs, admin: Person, member: Person, researcher: Person
) -> None:
    turn_on(member)
    with writing() as session:
        token = sessions.start_session(session, member)
    address = f"/people/{member.id}/second-factor/reset"
    assert sign_in(researcher).post(address).status_code == 403
    assert "with second factor" in sign_in(admin).get(f"/people/{member.id}").text
    assert client.post(address).status_code == 303
    assert client.post(address).status_code == 409
    assert actions(member)[-1] == "person.second_factor_reset"
    with reading() as session:
        assert sessions.person_of_token(session, token) is None


def test_who_is_locked_out_is_let_in_at_the_machine(member: Person) -> None:
    turn_on(member)
    done = CliRunner().invoke(app, ["user", "reset-second-factor", member.email])
    assert (done.exit_code, "no second factor any more" in done.output) == (0, True)
    assert actions(member)[-1] == "person.second_factor_reset"


def test_admins_set_it_up_before_they_are_in_where_they_need_it(
    client: TestClient, sign_in: SignInAs, admin: Person, labeler: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing() as session:
        service.set_password(session.get_one(Person, admin.id), RIGHT)
        admin = session.get_one(Person, admin.id)
    assert is_in(sign_in(admin))
    monkeypatch.setattr(get_settings(), "second_factor_of_admins", True)
    assert not is_in(client), "what began without a second step is over"
    assert is_in(sign_in(labeler))
    give_password(client, admin, "/people")
    in_place = client.post("/api/v1/sign-in", json={"email": admin.email, "password": RIGHT, "code": "123456"})
    assert in_place.status_code == 403
    page = client.get(STEP)
    assert "Set up your second factor" in page.text
    device = app_of(admin)
    assert client.post(STEP, data={"code": wrong(device)}).status_code == 422
    done = client.post(STEP, data={"code": device.now()})
    assert (done.status_code, 'href="/people"' in done.text, is_in(client)) == (200, True, True)
    with writing() as session:
        session.execute(update(SecondFactor).values(last_step=0))
    refused = client.post("/me/second-factor/off", data={"password": RIGHT, "code": device.now()})
    assert (refused.status_code, "Admins need a second factor" in refused.text) == (409, True)


def test_who_becomes_an_admin_needs_it_at_once(
    client: TestClient, sign_in: SignInAs, labeler: Person, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "second_factor_of_admins", True)
    assert is_in(sign_in(labeler))
    with writing() as session:
        service.set_role(session, session.get_one(Person, labeler.id), Role.admin, by=admin)
    assert not is_in(client)
