"""Whom the provider's claims are: found by their subject, at first by their address, in the role that they map to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import audit, service
from app.accounts.models import Person, PersonState, ProviderIdentity, Role
from app.accounts.provider import Claims
from app.core.config import NewPeople, get_settings
from app.core.errors import Conflict, Forbidden

_HIGHEST_FIRST = (Role.admin, Role.researcher, Role.labeler)


def person_of_claims(session: Session, claims: Claims) -> Person:
    """Who signs in, in the role that the provider gives them now."""
    role = role_of(claims)
    try:
        with session.begin_nested():
            person = _found(session, claims, role)
    except (IntegrityError, Conflict):  # they came in another tab just now, and are known by that
        person = _found(session, claims, role)
    service.refuse_paused(session, person)
    if person.state == PersonState.invited:
        person.state = PersonState.active
    if role is not None and role != person.role:
        _follow(session, person, role)
    session.flush()
    return person


def _found(session: Session, claims: Claims, role: Role | None) -> Person:
    return _known(session, claims) or _by_address(session, claims) or _new(session, claims, role)


def _known(session: Session, claims: Claims) -> Person | None:
    issuer, subject = get_settings().oidc_issuer, str(claims["sub"])
    query = select(Person).join(ProviderIdentity, ProviderIdentity.person_id == Person.id)
    return session.scalar(query.where(ProviderIdentity.issuer == issuer, ProviderIdentity.subject == subject))


def _by_address(session: Session, claims: Claims) -> Person | None:
    """Who was invited or is here with the address that the provider has verified; from now on known by subject."""
    email = _verified_address(claims)
    person = session.scalar(select(Person).where(Person.email == email))
    if person is None:
        return None
    issuer = get_settings().oidc_issuer
    other = select(ProviderIdentity.id).where(
        ProviderIdentity.person_id == person.id, ProviderIdentity.issuer == issuer
    )
    if session.scalar(other) is not None:
        raise Conflict(
            f"{email} belongs to another account of {get_settings().oidc_name} here.",
            mend="If that was you, ask an admin to unlink the old account on your page.",
        )
    _link(session, person, claims)
    return person


def _verified_address(claims: Claims) -> str:
    settings, email = get_settings(), str(claims.get("email") or "").strip().lower()
    if not email:
        raise Forbidden(
            f"{settings.oidc_name} does not tell your e-mail address.", mend="Ask who runs it to release it."
        )
    if claims.get("email_verified") not in (True, "true") and not settings.oidc_trusts_emails:
        raise Forbidden(f"{settings.oidc_name} has not verified {email}.", mend="Verify it there, then come again.")
    return email


def _new(session: Session, claims: Claims, role: Role | None) -> Person:
    settings, email = get_settings(), _verified_address(claims)
    if settings.oidc_new_people is NewPeople.invited:
        raise Forbidden(f"Nobody has invited {email}.", mend="Ask an admin of Touchstone for an invitation.")
    name = str(claims.get("name") or email.partition("@")[0])[:200]
    person = service.add_person(session, email, name=name, role=role or Role.labeler)
    _link(session, person, claims)
    return person


def _link(session: Session, person: Person, claims: Claims) -> None:
    issuer, subject = str(get_settings().oidc_issuer), str(claims["sub"])
    session.add(ProviderIdentity(person_id=person.id, issuer=issuer, subject=subject))
    session.flush()
    audit.record(session, person, "person.single_sign_on_linked", subject=person, issuer=issuer)


def unlink(session: Session, person: Person, *, by: Person) -> None:
    """The next sign-in finds them by address again, as for someone whose account at the provider was made anew."""
    for row in identities_of(session, person):
        session.delete(row)
    audit.record(session, by, "person.single_sign_on_unlinked", subject=person)
    session.flush()


def identities_of(session: Session, person: Person) -> Sequence[ProviderIdentity]:
    return session.scalars(select(ProviderIdentity).where(ProviderIdentity.person_id == person.id)).all()


def role_of(claims: Claims) -> Role | None:
    """The highest that a value of the claim maps to. None: roles are given here. Forbidden: none for this person."""
    settings = get_settings()
    if not settings.oidc_roles:
        return None
    mapped = {settings.oidc_roles[value] for value in _values(claims) if value in settings.oidc_roles}
    if not mapped and settings.oidc_role_otherwise is not None:
        mapped = {settings.oidc_role_otherwise}
    if not mapped:
        raise Forbidden(
            f"Your account at {settings.oidc_name} has no role in Touchstone.",
            mend="Ask who runs it to put you into a group that has one.",
        )
    return next(role for role in _HIGHEST_FIRST if role.value in mapped)


def _values(claims: Claims) -> list[str]:
    """What the claim holds; its name may be a way into others, as Keycloak's realm_access.roles."""
    name = get_settings().oidc_role_claim
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    listed = found if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, str)]


def _follow(session: Session, person: Person, role: Role) -> None:
    """The provider has the say, but for the last admin: someone must be left to mend the mapping."""
    if person.role == Role.admin and not service.count_admins(session, besides=person):
        audit.record(session, None, "person.role_kept", subject=person, role=person.role.value, provider=role.value)
        return
    before, person.role = person.role, role
    audit.record(session, None, "person.role", subject=person, before=before.value, role=role.value, by="provider")
