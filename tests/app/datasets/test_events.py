"""What happened at the desk goes out event by event, in its order, and names no person."""

import json
import uuid

import pytest
from sqlalchemy import select

from app.accounts.models import Person, Role
from app.core.db import writing
from app.datasets import events
from app.labeling.amendments import amend
from app.labeling.leases import lease_next
from app.labeling.models import Ranking, ReportKind
from app.labeling.reports import report
from app.labeling.schemas import Amendment, Report, Skip, Submission
from app.labeling.submissions import skip, submit
from app.projects.models import Project
from tests.app.labeling.rows import make_ranking_batch
from tests.conftest import SignIn
from tests.factories import make_person, make_project


@pytest.fixture
def installation_url(database_url: str) -> str:
    """On both kinds of database."""
    return database_url


def ranked(*ranks: int) -> dict[str, object]:
    return {"ranks": dict(zip("ABC", ranks, strict=True)), "submission_key": str(uuid.uuid4())}


def test_every_event_of_an_item_comes_in_its_order(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ITEMS_AT_ONCE", 2)
    with writing() as session:
        make_ranking_batch(session, project, items=5, completions=3)
        make_ranking_batch(session, make_project(session), items=1, completions=3)
        person = session.get_one(Person, labeler.id)
        first = lease_next(session, person, project)
        report(session, person, first.id, Report(kind=ReportKind.problem, reason="A typo"))
        submit(session, person, first.id, Submission(**ranked(1, 2, 3), active_seconds=40))
    with writing() as session:
        submitted = session.scalars(select(Ranking.id)).one()
        again = Amendment(**ranked(1, 1, 2), amends=submitted)
        amend(session, session.get_one(Person, labeler.id), first.id, again)
    with writing() as session:
        person = session.get_one(Person, labeler.id)
        second = lease_next(session, person, project)
        skip(session, person, second.id, Skip(reason="Not my field"))
    told = sign_in(researcher).get(f"/p/{project.slug}/datasets/events.jsonl")
    rows = [json.loads(line) for line in told.text.splitlines()]
    assert [row["event"] for row in rows] == ["taken", "problem", "submitted", "amended", "taken", "skipped"]
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert (rows[2]["active_seconds"], rows[5]["reason"]) == (40, "Not my field")
    assert len({row["labeler"] for row in rows}) == 1
    assert labeler.name not in told.text
    assert str(labeler.id) not in told.text


def test_it_is_for_researchers_of_the_project(sign_in: SignIn, labeler: Person, project: Project) -> None:
    address = f"/p/{project.slug}/datasets/events.jsonl"
    assert sign_in(labeler).get(address).status_code == 403
    with writing() as session:
        stranger = make_person(session, role=Role.researcher)
    assert sign_in(stranger).get(address).status_code == 404
