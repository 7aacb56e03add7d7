"""API tokens: what scripts show instead of a cookie. Bound to a person, shown once, kept as a hash, revocable."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import ApiToken, Person, PersonState
from app.core.clock import now
from app.core.errors import Forbidden, Invalid, NotFound, SignInNeeded
from app.core.passwords import new_token, token_hash
from app.core.security import SAFE_METHODS
from app.core.storable import storable

PREFIX = "touchstone_"  # so that a secret that was committed somewhere can be found
MOST_TOKENS, MOST_DAYS, LONGEST_NAME = 20, 730, 80


class Scope(StrEnum):
    """What a token may do of what its person may."""

    read = "read"
    write = "write"  # and read


SCOPES_IN_WORDS = {Scope.read: "read only", Scope.write: "read, and change what you may change"}


def create_token(session: Session, person: Person, *, name: str, scope: Scope, days: int) -> str:
    """A new token's secret, which is nowhere kept. `days` is how long it works; 0: until it is revoked."""
    name = storable(name).strip()
    if not name or len(name) > LONGEST_NAME:
        raise Invalid("A token needs a name.", fields={"name": f"Say what uses it, in {LONGEST_NAME} characters."})
    if not 0 <= days <= MOST_DAYS:
        raise Invalid(f"{days} days can't be.", fields={"days": f"Choose 1 to {MOST_DAYS}, or 0 for no end."})
    if len(tokens_of(session, person)) >= MOST_TOKENS:
        raise Invalid(f"You have {MOST_TOKENS} tokens already.", mend="Revoke one that nothing uses any more.")
    secret = PREFIX + new_token()
    ends = now() + timedelta(days=days) if days else None
    token = ApiToken(person_id=person.id, name=name, token_hash=token_hash(secret), scopes=[scope], expires_at=ends)
    session.add(token)
    session.flush()
    audit.record(session, person, "token.create", subject=token, name=name, scope=scope.value, days=days)
    return secret


def tokens_of(session: Session, person: Person) -> Sequence[ApiToken]:
    """A person's tokens, those that have run out among them, the newest first."""
    query = select(ApiToken).where(ApiToken.person_id == person.id).order_by(ApiToken.created_at.desc())
    return session.scalars(query).all()


def revoke_token(session: Session, person: Person, token_id: uuid.UUID) -> None:
    """The token stops working with the next request."""
    token = session.scalar(select(ApiToken).where(ApiToken.id == token_id, ApiToken.person_id == person.id))
    if token is None:
        raise NotFound("You have no such token.")
    audit.record(session, person, "token.revoke", subject=token, name=token.name)
    session.execute(delete(ApiToken).where(ApiToken.id == token.id))


def person_of_secret(session: Session, secret: str, *, method: str) -> tuple[Person, uuid.UUID]:
    """Whose token this is, and which, if it may do what the request's method means."""
    row = session.execute(
        select(Person, ApiToken.id, ApiToken.scopes)
        .join(ApiToken, ApiToken.person_id == Person.id)
        .where(ApiToken.token_hash == token_hash(secret), Person.state == PersonState.active)
        .where(or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now()))
    ).first()
    if row is None:
        raise SignInNeeded("This token is unknown, was revoked or has run out.", mend="Make a new one under your name.")
    if method not in SAFE_METHODS and Scope.write not in row.scopes:
        raise Forbidden("This token may only read.", mend="Make one that may write.")
    return row.Person, row.id
