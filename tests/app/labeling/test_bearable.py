"""What a person avoids never comes to them, and nobody gets more marked prompts a day than the project allows."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.accounts.preferences import Content, Preferences, set_preferences
from app.labeling.leases import count_left, lease_ahead, lease_next
from app.labeling.models import Assignment, Item
from app.labeling.schemas import Skip
from app.labeling.submissions import skip
from app.projects.models import Project
from app.prompts.models import Prompt
from tests.app.labeling.rows import make_ranking_batch
from tests.factories import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    """Four items: the first three are marked, the last is not."""
    project = make_project(session)
    batch = make_ranking_batch(session, project, items=4)
    items = session.scalars(select(Item).where(Item.batch_id == batch.id).order_by(Item.position)).all()
    for item, flags in zip(items, (["violent"], ["sexual", "violent"], ["sexual"], []), strict=True):
        session.get_one(Prompt, item.prompt_id).flags = flags
    session.flush()
    return project


@pytest.fixture
def person(session: Session, project: Project) -> Person:
    return make_person(session, project=project)


def flags_met(session: Session, person: Person, project: Project) -> list[list[str]]:
    """The marks of all prompts that come to this person, in order; each is skipped."""
    met: list[list[str]] = []
    while (assignment := lease_next(session, person, project)) is not None:
        item = session.get_one(Item, assignment.item_id)
        met.append(session.get_one(Prompt, item.prompt_id).flags)
        skip(session, person, assignment.id, Skip(reason="not now"))
    return met


def test_all_items_come_to_who_avoids_nothing(session: Session, person: Person, project: Project) -> None:
    assert flags_met(session, person, project) == [["violent"], ["sexual", "violent"], ["sexual"], []]


def test_what_is_avoided_never_comes_and_is_not_counted(session: Session, person: Person, project: Project) -> None:
    set_preferences(session, person, Preferences(avoided=frozenset({Content.violent})))
    assert count_left(session, person, project) == 2
    assert flags_met(session, person, project) == [["sexual"], []]


def test_the_cap_of_a_day_leaves_only_what_is_not_marked(session: Session, person: Person, project: Project) -> None:
    project.settings = {**project.settings, "disturbing_per_day": 1}
    assert flags_met(session, person, project) == [["violent"], []]
    for assignment in session.scalars(select(Assignment)):
        assignment.created_at -= timedelta(days=1)
    session.flush()
    assert flags_met(session, person, project) == [["sexual", "violent"]]


def test_one_item_waits_behind_the_one_at_hand(session: Session, person: Person, project: Project) -> None:
    assert lease_ahead(session, person, project) is None
    at_hand = lease_next(session, person, project)
    ahead = lease_ahead(session, person, project)
    assert at_hand is not None
    assert ahead is not None
    assert lease_ahead(session, person, project) == ahead
    assert lease_next(session, person, project) == at_hand
    skip(session, person, at_hand.id, Skip(reason="not now"))
    assert lease_next(session, person, project) == ahead
