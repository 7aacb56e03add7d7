"""What the people's pages ask of the database, on both kinds."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from app.accounts.models import Person, PersonState, Role
from app.core.db import writing
from app.core.errors import Conflict
from app.labeling import service as labeling
from app.labeling.choices import count_to_grade, demonstrations_to_grade
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, BatchKind, Demonstration, Item, ItemPurpose
from app.labeling.schemas import Submission
from app.labeling.screening import Decision, candidates, decide, grade
from app.labeling.submissions import submit
from app.people.activity import Span, by_week, hours_csv, work_by_day
from app.people.erasure import erase
from app.people.export import export_json
from app.projects.models import Project
from app.prompts.service import PromptFilter
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person, make_project, make_prompt


def write(session: object, person: Person, project: Project, text: str = "A story.") -> Assignment:
    assignment = lease_next(session, person, project)
    assert assignment is not None
    key = str(uuid.uuid4())
    letters = "ABCD"[: len(assignment.shown_order)]
    sent = Submission(text="" if letters else text, ranks=dict.fromkeys(letters, 1), submission_key=key,
                      active_seconds=900)  # fmt: skip
    submit(session, person, assignment.id, sent)
    return assignment


def test_days_end_at_midnight_in_utc_and_weeks_on_sunday(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        person, other = make_person(session, project=project), make_person(session, project=project)
        make_demonstration_batch(session, project, items=4)
        sunday = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
        for moment in (sunday, sunday + timedelta(minutes=2), sunday + timedelta(days=30)):
            write(session, person, project).submitted_at = moment
        write(session, other, project).submitted_at = sunday
        session.flush()
        span = Span(sunday.date(), sunday.date() + timedelta(days=7))
        days = {day: work for (_, day), work in work_by_day(session, span, person).items()}
        assert [(day.isoformat(), work.labels[BatchKind.demonstration]) for day, work in days.items()] == [
            ("2026-03-01", 1),
            ("2026-03-02", 1),
        ]
        assert [week.isoformat() for week in by_week(days.items())] == ["2026-02-23", "2026-03-02"]
        everyone = hours_csv([person, other], work_by_day(session, span))
        assert everyone.count("2026-03-01,2026-W09") == 2
        assert everyone.count("0.25") == 3


def test_erasure_refuses_the_last_admin_and_a_second_time(engine: Engine) -> None:
    with writing(engine) as session:
        admin, paused = (make_person(session, role=Role.admin) for _ in range(2))
        paused.state = PersonState.paused
        session.flush()
        with pytest.raises(Conflict, match="last admin"):
            erase(session, admin, typed_name=admin.name, by=admin)
        name = erase(session, paused, typed_name=paused.name, by=admin)
        assert (paused.name, paused.email.endswith("@erased.invalid")) == (name, True)
        with pytest.raises(Conflict, match="already"):
            erase(session, paused, typed_name=name, by=admin)


def test_an_export_is_whole_json(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        person = make_person(session, project=project)
        make_demonstration_batch(session, project, items=2, priority=1)
        make_ranking_batch(session, project)
        texts = ['He said "no" \u2028 and\nleft.', "Ünïcode 🐕"]
        for text in (*texts, ""):
            write(session, person, project, text)
    data = json.loads("".join(export_json(person.id, engine)))
    assert [each["text"] for each in data["demonstrations"]] == texts
    assert [place["rank"] for place in data["rankings"][0]["places"]] == [1, 1, 1, 1]
    assert len(data["assignments"]) == 3
    assert data["assignments"][0]["prompt"][0]["role"] == "user"


def test_each_demonstration_is_graded_once_and_one_of_a_prompt_at_a_time(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        people = [make_person(session, project=project) for _ in range(2)]
        make_demonstration_batch(session, project, overlap=2)
        for person in people:
            write(session, person, project, person.name)
        assert count_to_grade(session, project) == 1
        assert demonstrations_to_grade(session, project, PromptFilter(language="xx")) == []
        for person in people:
            found = demonstrations_to_grade(session, project)
            assert [each.person_id for each in found] == [person.id]
            labeling.create_grading_batch(session, project, demonstrations=found)
        assert count_to_grade(session, project) == 0


def test_a_candidate_s_figures_and_the_decision(engine: Engine) -> None:
    with writing(engine) as session:
        project, admin = make_project(session), make_person(session, role=Role.admin)
        bank = make_ranking_batch(session, project, completions=2)
        item = session.scalars(select(Item).where(Item.batch_id == bank.id)).one()
        person = make_person(session, project=project)
        person.state, person.password_hash = PersonState.screening, "set"
        session.flush()
        shown = lease_next(session, make_person(session, project=project), project)
        assert shown is not None
        first, second = shown.shown_order
        item.purpose, item.gold = ItemPurpose.gold, {"ranks": {first: 1, second: 2}, "flags": {first: []}}
        session.flush()
        labeling.create_screening_batch(session, project, answered=1, prompts=[make_prompt(session, project)])
        for _ in range(2):
            write(session, person, project)
        demonstration = session.scalars(select(Demonstration)).one()
        grade(session, project, demonstration.id, "6", by=admin)
        who = candidates(session, project)[0]
        assert (who.person.id, who.submitted, who.wanted) == (person.id, 2, 2)
        assert (who.flags.value, who.rankings.value, who.grade) == (1.0, 0.0, 6.0)
        decide(session, project, person.id, Decision.held_out, by=admin)
        assert person.state == PersonState.active
