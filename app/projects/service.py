"""Projects, their members and the versions of their rules."""

import re
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.models import Person, Role
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound
from app.projects.models import Guidelines, GuidelinesKind, Project, ProjectMember, RatingSchema, Round

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")


def create_project(session: Session, name: str, *, slug: str, by: Person | None = None) -> Project:
    """A project with its first round; `by` becomes a member."""
    if not name.strip():
        raise Invalid("A project needs a name.", fields={"name": "Write a name."})
    if not _SLUG.fullmatch(slug):
        raise Invalid("This address can't be used.", fields={"slug": "Use a-z, 0-9 and dashes, up to 48 characters."})
    if session.scalar(select(Project.id).where(Project.slug == slug)):
        raise Conflict(f"There is a project at /p/{slug} already.", mend="Choose another address.")
    project = Project(name=name.strip(), slug=slug)
    session.add(project)
    session.flush()
    session.add(Round(project_id=project.id, number=1))
    if by is not None:
        session.add(ProjectMember(project_id=project.id, person_id=by.id))
    session.flush()
    audit.record(session, by, "project.create", subject=project)
    return project


_ANY = select(Project).where(Project.is_archived.is_(False)).order_by(Project.created_at)
_OWN = _ANY.join(ProjectMember, ProjectMember.project_id == Project.id).where(
    ProjectMember.person_id == bindparam("person_id")
)
# Built once: every request asks.
_ANY_BY_SLUG, _OWN_BY_SLUG = (query.where(Project.slug == bindparam("slug")) for query in (_ANY, _OWN))


def visible_projects(session: Session, person: Person) -> list[Project]:
    """All for an admin; for others those they are members of."""
    query = _ANY if person.role == Role.admin else _OWN
    return list(session.scalars(query, {"person_id": person.id}))


def visible_project(session: Session, person: Person, slug: str) -> Project:
    query = _ANY_BY_SLUG if person.role == Role.admin else _OWN_BY_SLUG
    project: Project | None = session.scalar(query, {"slug": slug, "person_id": person.id})
    if project is None:
        raise NotFound("There is no such project, or you are not a member of it.", mend="Ask an admin to add you.")
    return project


def project_by_slug(session: Session, slug: str) -> Project:
    project = session.scalar(select(Project).where(Project.slug == slug))
    if project is None:
        raise NotFound(f"There is no project {slug!r}.")
    return project


def chosen_project(session: Session, slug: str) -> Project:
    """The project a command means: the one it names, or the only one there is."""
    if slug:
        return project_by_slug(session, slug)
    found = list(session.scalars(select(Project).where(Project.is_archived.is_(False)).order_by(Project.slug)))
    if len(found) != 1:
        names = ", ".join(project.slug for project in found) or "none yet"
        raise Invalid("Which project is meant?", mend=f"Name it with --project; there is {names}.")
    return found[0]


def members(session: Session, project: Project) -> list[Person]:
    query = select(Person).join(ProjectMember, ProjectMember.person_id == Person.id)
    return list(session.scalars(query.where(ProjectMember.project_id == project.id).order_by(Person.name)))


def projects_of_member(session: Session, person: Person) -> list[Project]:
    query = select(Project).join(ProjectMember, ProjectMember.project_id == Project.id)
    return list(session.scalars(query.where(ProjectMember.person_id == person.id).order_by(Project.name)))


def add_member(session: Session, project: Project, person: Person, *, by: Person | None = None) -> None:
    """Make `person` a member; nothing happens when they are one."""
    if session.get(ProjectMember, (project.id, person.id)) is None:
        session.add(ProjectMember(project_id=project.id, person_id=person.id))
        audit.record(session, by, "project.add_member", subject=project, member=str(person.id))
        session.flush()


def remove_member(session: Session, project: Project, person: Person, *, by: Person) -> None:
    membership = session.get(ProjectMember, (project.id, person.id))
    if membership is not None:
        session.delete(membership)
        audit.record(session, by, "project.remove_member", subject=project, member=str(person.id))


def newest_guidelines(session: Session, project: Project, kind: GuidelinesKind) -> Guidelines | None:
    query = select(Guidelines).where(Guidelines.project_id == project.id, Guidelines.kind == kind)
    return session.scalar(query.order_by(Guidelines.version.desc()).limit(1))


def guidelines_of(
    session: Session, project: Project, kind: GuidelinesKind, version: int | None = None
) -> Guidelines | None:
    """The version asked for; without one the newest, if there is any."""
    if version is None:
        return newest_guidelines(session, project, kind)
    try:
        return version_of_guidelines(session, project, kind, version)
    except NotFound as missing:
        raise Invalid(missing.message, fields={"guidelines_version": "Choose one."}) from missing


def version_of_guidelines(session: Session, project: Project, kind: GuidelinesKind, version: int) -> Guidelines:
    query = select(Guidelines).where(Guidelines.project_id == project.id, Guidelines.kind == kind)
    found = session.scalar(query.where(Guidelines.version == version))
    if found is None:
        raise NotFound(f"There are no {kind.value} guidelines {version}.")
    return found


def versions_of_guidelines(session: Session, project: Project) -> dict[GuidelinesKind, list[Guidelines]]:
    """Every version of each kind, newest first."""
    query = select(Guidelines).where(Guidelines.project_id == project.id).order_by(Guidelines.version.desc())
    versions: dict[GuidelinesKind, list[Guidelines]] = {kind: [] for kind in GuidelinesKind}
    for guidelines in session.scalars(query):
        versions[guidelines.kind].append(guidelines)
    return versions


def publish_guidelines(
    session: Session,
    project: Project,
    kind: GuidelinesKind,
    text: str,
    *,
    by: Person | None = None,
    based_on: int | None = None,
) -> Guidelines:
    """A new version; batches keep the version they were made under. `based_on` is the version that the writer saw."""
    if not text.strip():
        raise Invalid("Guidelines can't be empty.", fields={"text": "Write what labelers should do."})
    session.execute(select(Project.id).where(Project.id == project.id).with_for_update())  # one writer at a time
    before = newest_guidelines(session, project, kind)
    if based_on is not None and based_on != (before.version if before else 0):
        raise Conflict("Meanwhile someone else has published a version.", mend="Read it, take it in, publish again.")
    guidelines = Guidelines(project_id=project.id, kind=kind, text=text, version=before.version + 1 if before else 1)
    session.add(guidelines)
    session.flush()
    audit.record(session, by, "guidelines.publish", subject=guidelines, version=guidelines.version)
    return guidelines


def newest_rating_schema(session: Session, project: Project) -> RatingSchema | None:
    query = select(RatingSchema).where(RatingSchema.project_id == project.id)
    return session.scalar(query.order_by(RatingSchema.version.desc()).limit(1))


def rating_schema_of(session: Session, project: Project, version: int | None = None) -> RatingSchema | None:
    """The version asked for; without one the newest, if there is any."""
    if version is None:
        return newest_rating_schema(session, project)
    try:
        return version_of_rating_schema(session, project, version)
    except NotFound as missing:
        raise Invalid(missing.message, fields={"schema_version": "Choose one."}) from missing


def version_of_rating_schema(session: Session, project: Project, version: int) -> RatingSchema:
    query = select(RatingSchema).where(RatingSchema.project_id == project.id, RatingSchema.version == version)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"There is no rating schema {version}.")
    return found


def schema_versions(session: Session, project: Project) -> list[RatingSchema]:
    """Newest first."""
    query = select(RatingSchema).where(RatingSchema.project_id == project.id)
    return list(session.scalars(query.order_by(RatingSchema.version.desc())))


def publish_rating_schema(
    session: Session,
    project: Project,
    fields: dict[str, Any],
    *,
    by: Person | None = None,
    based_on: int | None = None,
) -> RatingSchema:
    """A new version, in the shape that `RatingSchema` states. Batches keep the version they were made under. `based_on`
    is the newest one that the writer saw."""
    keys = [field.get("key") for kind in ("likert", "flags") for field in fields.get(kind, [])]
    if not keys or None in keys or len(set(keys)) != len(keys):
        raise Invalid("A rating schema needs fields, each with a key of its own.")
    session.execute(select(Project.id).where(Project.id == project.id).with_for_update())  # one writer at a time
    before = newest_rating_schema(session, project)
    if based_on is not None and based_on != (before.version if before else 0):
        raise Conflict("Meanwhile someone else has published a version.", mend="Read it, take it in, publish again.")
    schema = RatingSchema(project_id=project.id, fields=fields, version=before.version + 1 if before else 1)
    session.add(schema)
    session.flush()
    audit.record(session, by, "rating_schema.publish", subject=schema, version=schema.version)
    return schema


def current_round(session: Session, project: Project) -> Round:
    query = select(Round).where(Round.project_id == project.id).order_by(Round.number.desc()).limit(1)
    return session.scalars(query).one()


def start_next_round(session: Session, project: Project, *, by: Person) -> Round:
    """Close the current round and open the next, with the same targets."""
    current = current_round(session, project)
    current.closed_at = now()
    following = Round(project_id=project.id, number=current.number + 1, targets=dict(current.targets))
    session.add(following)
    session.flush()
    audit.record(session, by, "round.start", subject=following, number=following.number)
    return following


def count_projects(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Project)) or 0
