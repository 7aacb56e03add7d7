"""What a lead's pages show at once is found through indexes, and never through everything that was labeled."""

import re

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Person
from app.core.db import reading, writing
from app.labeling import choices, plans, screening
from app.labeling.batch_overview import items_of, overview_of
from app.labeling.leases import lease_next
from app.labeling.models import Batch
from app.labeling.progress import sampled_runs
from app.labeling.schemas import Skip
from app.labeling.submissions import skip
from app.people.activity import span_of, work_by_day
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.service import sources_and_languages
from app.quality import exclusions
from app.quality.disagreements import read_queue
from app.quality.service import batch_lines
from app.runs.turn import read_turn
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.app.labeling.test_query_plans import plan_of, read_whole, recorded, work_on_one_item
from tests.app.quality.rows import make_item
from tests.factories import make_person, make_project

# From an item to what was made of it: item by item that reads all that was ever labeled.
BY_ITEM = re.compile(r"SEARCH (assignment|ranking)\w* USING .*\(item_id=\?\)")


def open_every_page(session: Session, project: Project, batch: Batch, person: Person) -> None:
    read_turn(session, project, projects.current_round(session, project))
    batch_lines(session, project)
    overview_of(session, batch)
    items_of(session, batch, purpose=None, page=1)
    sampled_runs(session, project)
    choices.count_without_demonstration(session, project)
    choices.count_to_grade(session, project)
    plans.count_answered(session, project)
    sources_and_languages(session, project)
    exclusions.count_left_out(session, project, person)
    work_by_day(session, span_of("", ""), person)


def prepare(engine: Engine) -> tuple[Project, Batch, Person]:
    with writing(engine) as session:
        project = make_project(session)
        make_demonstration_batch(session, project, items=5, priority=-1)
        batch = make_ranking_batch(session, project, items=30, overlap=2)
        make_item(session, project, batch, gold=[1, 2, 3])

        people = [make_person(session, project=project) for _ in range(3)]
        for person in people:
            token = accounts.start_session(session, person)
            for _ in range(5):
                work_on_one_item(session, person, project, token)
            leased = lease_next(session, person, project)
            assert leased is not None
            skip(session, person, leased.id, Skip(reason="unsafe"))
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    return project, batch, people[0]


def test_what_a_leads_pages_show_at_once_goes_through_indexes(engine: Engine) -> None:
    project, batch, person = prepare(engine)
    with recorded(engine) as statements, reading(engine) as session:
        open_every_page(session, project, batch, person)
    with engine.connect() as connection:
        found = {statement[0]: plan_of(connection, statement) for statement in statements}
    assert len(found) > 20, "the statements were not seen"
    assert {statement: plan for statement, plan in found.items() if set(read_whole(plan)) - {"person"}} == {}
    assert any("ix_item_with_answer" in line for plan in found.values() for line in plan)
    # Two rankings, enough to learn from, are looked for only until they are found.
    whole = {statement: plan for statement, plan in found.items() if "LIMIT" not in statement}
    assert {statement: plan for statement, plan in whole.items() if any(map(BY_ITEM.search, plan))} == {}


def test_screening_and_decisions_start_at_the_few(engine: Engine) -> None:
    """Who was screened is asked of the screenings, and what was decided of the decisions."""
    project, _, _ = prepare(engine)
    with recorded(engine) as statements, reading(engine) as session:
        screening.candidates(session, project)
        read_queue(session, project)
    with engine.connect() as connection:
        found = {statement[0]: plan_of(connection, statement) for statement in statements}
    used = " ".join(line for plan in found.values() for line in plan)
    assert "ix_ranking_of_adjudication" in used
    if engine.dialect.name == "sqlite":
        (screened,) = (plan for statement, plan in found.items() if "person.state = ?" in statement)
        assert [line for line in screened if "assignment" in line and "person_id=?" in line] == []
