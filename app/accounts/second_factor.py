"""A second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when it is lost."""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

import pyotp
import segno
from markupsafe import Markup
from pyotp.exceptions import OTPVerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import SECOND_FACTOR, Person, RecoveryCode, Role, SecondFactor
from app.core.clock import now
from app.core.config import get_settings
from app.core.errors import Conflict, Invalid
from app.core.passwords import token_hash
from app.core.sealing import seal, unseal

RECOVERY_CODES = 10
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read as another
_GROUPS, _GROUP = 4, 4  # 79 bits: nobody guesses one, so a plain hash suffices
SHOWN_FOR = timedelta(hours=1)  # who saw an unused one long ago does not know the one that is used
DRIFT = 1  # half minutes that a phone's clock may be off


class WrongCode(Invalid):
    """One more code that was wrong."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an authenticator app has to be told, to scan and to type."""

    picture: Markup
    address: str
    secret: str  # in groups of four


def _of(session: Session, person: Person) -> SecondFactor | None:
    return session.scalar(select(SecondFactor).where(SecondFactor.person_id == person.id))


def is_on(session: Session, person: Person) -> bool:
    row = _of(session, person)
    return row is not None and row.confirmed_at is not None


def is_required(person: Person) -> bool:
    return person.role == Role.admin and get_settings().second_factor_of_admins


def begin(session: Session, person: Person) -> Shown:
    """What to scan: a new secret, or the one that was shown before and waits to be confirmed."""
    # two tabs at once: the second waits, and shows what the first has made
    session.execute(select(Person.id).where(Person.id == person.id).with_for_update(key_share=True))
    row = _of(session, person)
    if row is not None and row.confirmed_at is not None:
        raise Conflict("Your second factor is on.", mend="Turn it off first to set up another app.")
    if row is not None and row.created_at < now() - SHOWN_FOR:
        _forget(session, person)
        row = None
    if row is None:
        row = SecondFactor(person_id=person.id, sealed_secret=seal(pyotp.random_base32(), SECOND_FACTOR))
        session.add(row)
        session.flush()
    secret = unseal(row.sealed_secret, SECOND_FACTOR)
    address = pyotp.TOTP(secret).provisioning_uri(name=person.email, issuer_name="Touchstone")
    code = segno.make_qr(address, error="m")
    picture = code.svg_inline(border=4, light="#fff", svgclass="qr", omitsize=True)
    return Shown(Markup(picture), address, " ".join(re.findall("....", secret)))  # noqa: S704  drawn just above


def confirm(session: Session, person: Person, code: str) -> list[str]:
    """Turn it on by a code of the app. Returns recovery codes, which are shown once."""
    row = _of(session, person)
    if row is None or row.confirmed_at is not None:
        raise Conflict("There is nothing to confirm.", mend="Open the page of your second factor again.")
    _use_code(session, row, code)
    row.confirmed_at = now()
    audit.record(session, person, "person.second_factor_on", subject=person)
    return _new_recovery_codes(session, person)


def check(session: Session, person: Person, code: str) -> None:
    """Use up a code of the app, or a recovery code. WrongCode: it is neither, or was used before."""
    row = _of(session, person)
    if row is None or row.confirmed_at is None:
        raise Conflict("There is no second factor.", mend="Sign in again.")
    plain = re.sub(r"[\s-]", "", code).lower()
    if plain.isdecimal():
        _use_code(session, row, plain)
    else:
        _use_recovery_code(session, person, plain)


def _use_code(session: Session, row: SecondFactor, code: str) -> None:
    """One statement decides who comes first, so that a code that was looked at over a shoulder is good for nobody."""
    app = pyotp.TOTP(unseal(row.sealed_secret, SECOND_FACTOR))
    plain = re.sub(r"\s", "", code)
    try:
        step = app.verify_and_get_timecode(plain, for_time=now(), valid_window=DRIFT)
    except OTPVerificationError:
        raise WrongCode(
            "The code is wrong.",
            mend="Type the one that the app shows now; if all are wrong, set the phone's clock.",
            fields={"code": "It is not the app's code of this minute."},
        ) from None
    newer = update(SecondFactor).where(SecondFactor.id == row.id, SecondFactor.last_step < step).values(last_step=step)
    if not session.execute(newer).rowcount:  # type: ignore[attr-defined]
        raise WrongCode(
            "This code was used already.", mend="Wait for the app's next one.", fields={"code": "Each is good once."}
        )


def _use_recovery_code(session: Session, person: Person, plain: str) -> None:
    query = update(RecoveryCode).where(
        RecoveryCode.person_id == person.id,
        RecoveryCode.code_hash == token_hash(plain),
        RecoveryCode.used_at.is_(None),
    )
    if not session.execute(query.values(used_at=now())).rowcount:  # type: ignore[attr-defined]
        raise WrongCode(
            "The recovery code is wrong, or was used already.",
            mend="Take another one, or ask an admin to reset your second factor.",
            fields={"code": "No unused recovery code is written so."},
        )
    audit.record(
        session, person, "person.recovery_code_used", subject=person, left=recovery_codes_left(session, person)
    )


def recovery_codes_left(session: Session, person: Person) -> int:
    query = select(func.count()).where(RecoveryCode.person_id == person.id, RecoveryCode.used_at.is_(None))
    return session.scalar(query) or 0


def _new_recovery_codes(session: Session, person: Person) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))
    codes = ["-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
             for _ in range(RECOVERY_CODES)]  # fmt: skip
    for code in codes:
        session.add(RecoveryCode(person_id=person.id, code_hash=token_hash(code.replace("-", ""))))
    session.flush()
    return codes


def renew_recovery_codes(session: Session, person: Person, code: str) -> list[str]:
    """Ten new ones, shown once; those before stop working."""
    check(session, person, code)
    audit.record(session, person, "person.recovery_codes_renewed", subject=person)
    return _new_recovery_codes(session, person)


def turn_off(session: Session, person: Person, code: str) -> None:
    """By the person, who proved to be them by their password before."""
    if is_required(person):
        raise Conflict("Admins need a second factor here.", mend="Set up another app once this one is reset.")
    check(session, person, code)
    _forget(session, person)
    audit.record(session, person, "person.second_factor_off", subject=person)


def reset(session: Session, person: Person, *, by: Person | None) -> None:
    """Turned off by an admin, or at the machine itself: for who lost app and recovery codes."""
    if not is_on(session, person):
        raise Conflict("This person has no second factor.")
    _forget(session, person)
    audit.record(session, by, "person.second_factor_reset", subject=person)


def _forget(session: Session, person: Person) -> None:
    for table in (SecondFactor, RecoveryCode):
        session.execute(delete(table).where(table.person_id == person.id))
    session.flush()
