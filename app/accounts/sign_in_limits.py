"""How often a password may be guessed: of one account, and from one address.

Failures are rows, so that all web processes count together and a restart forgets nothing. An address that exists and
one that does not are counted alike. An account is closed to the address that guesses it, not to its owner elsewhere,
until guesses come from many addresses at once.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.orm import Session

from app.accounts.models import SignInFailure
from app.core.clock import now
from app.core.errors import TooMany
from app.core.passwords import token_hash

WINDOW = timedelta(minutes=15)
KEPT = timedelta(days=1)
FROM_ONE_ADDRESS_AT_ONE_ACCOUNT = 10
FROM_ONE_ADDRESS = 100  # an office behind one address may mistype now and then
AT_ONE_ACCOUNT = 100
CODES_AT_ONE_ACCOUNT = 20  # three in a million are right; and who guesses these knows the password


def refuse_too_many(session: Session, email: str, address: str) -> None:
    """TooMany where the last quarter of an hour has seen too many failures, with the seconds to wait."""
    account = account_key(email)
    of_account, of_address = SignInFailure.account == account, SignInFailure.address == address
    _refuse(
        session,
        (FROM_ONE_ADDRESS_AT_ONE_ACCOUNT, and_(of_account, of_address)),
        (AT_ONE_ACCOUNT, of_account),
        (FROM_ONE_ADDRESS, of_address),
    )


def refuse_too_many_codes(session: Session, email: str) -> None:
    """TooMany where too many codes of this account's second step were wrong, wherever they came from."""
    _refuse(session, (CODES_AT_ONE_ACCOUNT, SignInFailure.account == _codes_key(email)))


def _refuse(session: Session, *bounds: tuple[int, ColumnElement[bool]]) -> None:
    for most, which in bounds:
        if oldest := _the_one_too_many(session, which, most):
            seconds = max(1, round((oldest + WINDOW - now()).total_seconds()))
            raise TooMany(
                "Too many sign-ins have failed.",
                seconds=seconds,
                mend=f"Try again in {-(-seconds // 60)} min, or ask an admin for a sign-in link.",
            )


def _the_one_too_many(session: Session, which: ColumnElement[bool], most: int) -> datetime | None:
    """When the failure was made that must be forgotten first; none where there are fewer than `most`."""
    recent = select(SignInFailure.created_at).where(which, SignInFailure.created_at > now() - WINDOW)
    return session.scalar(recent.order_by(SignInFailure.created_at.desc()).offset(most - 1).limit(1))


def count_failure(session: Session, email: str, address: str) -> None:
    session.execute(delete(SignInFailure).where(SignInFailure.created_at < now() - KEPT))
    session.add(SignInFailure(account=account_key(email), address=address))


def count_wrong_code(session: Session, email: str, address: str) -> None:
    session.add(SignInFailure(account=_codes_key(email), address=address))


def _codes_key(email: str) -> str:
    return token_hash(f"second step of {email.strip().lower()}")


def forget_failures(session: Session, email: str, address: str) -> None:
    """Who knows the password may mistype it again."""
    session.execute(
        delete(SignInFailure).where(SignInFailure.account == account_key(email), SignInFailure.address == address)
    )


def account_key(email: str) -> str:
    """What is kept of the address that was typed: enough to count by."""
    return token_hash(email.strip().lower())
