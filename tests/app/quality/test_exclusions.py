"""Leaving work out of new snapshots, and letting it count again."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Person, PersonState, Role
from app.core.errors import Conflict, Invalid, NotFound
from app.datasets.gathering import gather
from app.datasets.models import SnapshotKind
from app.datasets.schemas import read_filter
from app.datasets.service import count_rows
from app.evals.judgments import Judgments
from app.evals.service import judged_contestants
from app.labeling.models import BatchKind, Ranking
from app.projects.models import Project
from app.quality.exclusions import (
    count_left_out,
    covers,
    exclude,
    exclusions_of,
    is_left_out,
    lift,
    standing_exclusions,
)
from app.quality.labeler import change_state
from tests.app.datasets.labels import make_demonstration, make_ranking
from tests.app.quality.rows import make_batch, make_item, rank
from tests.factories import make_person, make_project, make_prompt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def lead(session: Session) -> Person:
    return make_person(session, role=Role.researcher)


def rows(session: Session, project: Project, kind: str = "comparisons", **wanted: object) -> int:
    counted = count_rows(session, project, SnapshotKind(kind), wanted)
    assert counted == len(list(gather(session, project, SnapshotKind(kind), read_filter(wanted))))
    return counted


def test_excluded_work_is_in_no_new_snapshot_until_the_exclusion_is_lifted(
    session: Session, project: Project, lead: Person
) -> None:
    spammer, other = make_person(session), make_person(session)
    for person in (spammer, other):
        make_ranking(session, project, person, [1, 2])
        make_demonstration(session, make_prompt(session, project), person)
    exclusion = exclude(session, project, spammer, reason="Ranks at random.", by=lead)
    assert (rows(session, project), rows(session, project, "demonstrations")) == (1, 1)
    assert rows(session, project, purpose="evaluation") == 1
    assert count_left_out(session, project, spammer) == (1, 1)
    lift(session, project, exclusion.id, by=lead)
    assert (rows(session, project), rows(session, project, "demonstrations")) == (2, 2)
    assert session.scalars(select(Ranking)).all() != []
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.subject_id == exclusion.id))
    assert sorted(actions) == ["exclusion.lift", "exclusion.set"]


def test_a_reason_is_kept_as_the_databases_can_keep_it(session: Session, project: Project, lead: Person) -> None:
    labeler = make_person(session, project=project)
    exclusion = exclude(session, project, labeler, reason=" At\x00random.\r\nAll of it. ", by=lead)
    labeler.password_hash = "set long ago"
    change_state(session, labeler, PersonState.paused, reason="\x00Let us talk.", by=lead)
    session.expire_all()
    assert exclusion.reason == "At\ufffdrandom.\nAll of it."
    said = session.scalars(select(AuditEvent).order_by(AuditEvent.created_at)).all()
    assert [each.details["reason"] for each in said if "reason" in each.details] == [
        "At\ufffdrandom.\nAll of it.",
        "\ufffdLet us talk.",
    ]


def test_another_projects_exclusion_touches_nothing_here(session: Session, project: Project, lead: Person) -> None:
    labeler = make_person(session)
    make_ranking(session, project, labeler, [1, 2])
    exclude(session, make_project(session), labeler, reason="There.", by=lead)
    assert rows(session, project) == 1


@pytest.mark.parametrize(
    ("begins", "ends", "left"), [(0, None, [-1]), (None, 0, [0, 1]), (0, 1, [-1, 1]), (-9, -5, [-1, 0, 1])]
)
def test_from_and_until_bound_what_is_left_out(
    session: Session, project: Project, lead: Person, begins: int | None, ends: int | None, left: list[int]
) -> None:
    """The condition in SQL and the one in Python leave out the same: from is inclusive, until is not."""
    labeler, batch = make_person(session), make_batch(session, project)
    for day in (-1, 0, 1):
        rank(session, make_item(session, project, batch), labeler, [1, 2, 3], made=NOON + timedelta(days=day))
    bounds = [NOON + timedelta(days=day) if day is not None else None for day in (begins, ends)]
    exclusion = exclude(
        session, project, labeler, reason="A bad day.", labels_from=bounds[0], labels_until=bounds[1], by=lead
    )
    made = [NOON + timedelta(days=day) for day in left]
    assert sorted(session.scalars(select(Ranking.created_at).where(~is_left_out(project, Ranking)))) == made
    every = session.scalars(select(Ranking.created_at)).all()
    assert sorted(moment for moment in every if not covers(exclusion, labeler.id, moment)) == made


def test_excluded_judgments_count_in_no_win_rate(session: Session, project: Project, lead: Person) -> None:
    labeler = make_person(session)
    make_ranking(session, project, labeler, [1, 2], kind=BatchKind.evaluation)
    assert len(judged_contestants(session, project, judgments=Judgments())) == 1
    exclude(session, project, labeler, reason="Ranks at random.", by=lead)
    assert judged_contestants(session, project, judgments=Judgments()) == []


def test_an_exclusion_needs_a_reason_and_days_in_order(session: Session, project: Project, lead: Person) -> None:
    labeler = make_person(session)
    with pytest.raises(Invalid, match="say why"):
        exclude(session, project, labeler, reason="  ", by=lead)
    with pytest.raises(Invalid, match="too long"):
        exclude(session, project, labeler, reason="x" * 2001, by=lead)
    with pytest.raises(Invalid, match="after the last"):
        exclude(session, project, labeler, reason="Why.", labels_from=NOON, labels_until=NOON, by=lead)
    assert standing_exclusions(session, project) == []


def test_the_same_work_is_not_excluded_twice(session: Session, project: Project, lead: Person) -> None:
    labeler = make_person(session)
    exclusion = exclude(session, project, labeler, reason="Why.", by=lead)
    with pytest.raises(Conflict):
        exclude(session, project, labeler, reason="Again.", by=lead)
    lift(session, project, exclusion.id, by=lead)
    lift(session, project, exclusion.id, by=lead)
    exclude(session, project, labeler, reason="Again.", by=lead)
    assert [each.reason for each in exclusions_of(session, project, labeler)] == ["Again.", "Why."]
    with pytest.raises(NotFound):
        lift(session, make_project(session), exclusion.id, by=lead)
