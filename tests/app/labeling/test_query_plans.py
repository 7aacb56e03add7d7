"""What a labeler asks for with every item is found through indexes: it costs the same in tables of millions."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Person
from app.core.db import make_engine, writing
from app.labeling.amendments import own_and_amendable
from app.labeling.bench import bench_of, receipt
from app.labeling.leases import lease_ahead, lease_next
from app.labeling.progress import desk_state
from app.labeling.schemas import Submission
from app.labeling.submissions import beat, submit
from app.projects import service as projects
from app.projects.models import Project
from tests.app.labeling.rows import make_ranking_batch
from tests.factories import make_person, make_project

GROWING = ("item", "item_completion", "completion", "assignment", "ranking", "ranking_place", "rating", "prompt",
           "person", "sign_in")  # fmt: skip
# Without these it would be another index that the database reads from end to end.
INDEXES = {
    "ix_item_with_free_place",
    "ix_assignment_person_id_created_at",
    "ix_assignment_person_id_state_lease_until",
    "ix_assignment_person_id_submitted_at",
    "ix_assignment_state_lease_until",
    "ix_ranking_item_id",
}
Statement = tuple[str, Any]


@contextmanager
def recorded(engine: Engine) -> Iterator[list[Statement]]:
    """Every query and update that runs meanwhile, with its parameters."""
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not many and statement.lstrip().startswith(("SELECT", "UPDATE", "WITH")):
            found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def plan_of(connection: Connection, statement: Statement) -> list[str]:
    sql, parameters = statement
    if connection.dialect.name == "sqlite":
        return [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    # In tables this small it would read everything by choice; so only what it has no index for.
    connection.exec_driver_sql("SET enable_seqscan = off")
    return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {sql}", parameters)]


def read_whole(plan: list[str]) -> list[str]:
    """The growing tables that this plan reads from end to end."""
    scanned = [found[1] for line in plan if (found := re.search(r"(?:^SCAN|Seq Scan on) (\w+)", line))]
    return [table for table in scanned if re.sub(r"_\d+$", "", table) in GROWING]


def work_on_one_item(session: Session, mira: Person, project: Project, token: str) -> None:
    """All that a cycle of next and submit asks the database."""
    accounts.person_of_token(session, token)
    projects.visible_project(session, mira, project.slug)
    assignment = lease_next(session, mira, project)
    assert assignment is not None
    desk_state(session, mira, project)
    letters = bench_of(session, assignment).letters
    beat(session, mira, assignment.id)
    lease_ahead(session, mira, project)
    ranks = {letter: rank for rank, letter in enumerate(letters, 1)}
    submit(session, mira, assignment.id, Submission(submission_key=str(uuid.uuid4()), ranks=ranks))
    assignment, _ = own_and_amendable(session, mira, assignment.id, project)
    receipt(session, assignment)


def prepare(engine: Engine, *, items: int = 60) -> tuple[Person, Project, str]:
    """Mira, who has worked before, among others who are at work."""
    with writing(engine) as session:
        project = make_project(session)
        make_ranking_batch(session, project, items=items)
        mira, *others = (make_person(session, project=project) for _ in range(30))
        for other in others:
            lease_next(session, other, project)
        token = accounts.start_session(session, mira)
        for _ in range(20):
            work_on_one_item(session, mira, project, token)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    return mira, project, token


def test_what_a_labeler_does_goes_through_indexes_only(engine: Engine) -> None:
    mira, project, token = prepare(engine)
    with recorded(engine) as statements, writing(engine) as session:
        work_on_one_item(session, mira, project, token)
    with engine.connect() as connection:
        plans = {statement[0]: plan_of(connection, statement) for statement in statements}
    assert len(plans) > 12, "the statements were not seen"
    assert {statement: plan for statement, plan in plans.items() if read_whole(plan)} == {}
    of_free_items = [plan for statement, plan in plans.items() if "taken < item.wanted" in statement]
    joined = [plan for plan in of_free_items if any("Anti Join" in line for line in plan)]
    assert joined == [], "with statistics that are behind, such a join reads all that a person ever did"
    past = "SEARCH assignment USING INDEX ix_assignment_person_id_created_at (person_id=?)"
    assert [statement for statement, plan in plans.items() if past in plan] == [], "reads all that a person ever had"
    used = {name for plan in plans.values() for line in plan for name in re.findall(r"ix_\w+", line)}
    # PostgreSQL takes whichever index of the person it estimates cheapest, and in these tables they cost the same.
    a_matter_of_numbers = {name for name in INDEXES if "person_id" in name and engine.dialect.name == "postgresql"}
    assert used >= INDEXES - a_matter_of_numbers


def test_postgresql_keeps_the_plans_of_what_every_item_asks(postgres_url: str) -> None:
    """Planning took as long as all the rest of taking an item."""
    engine = make_engine(postgres_url)
    mira, project, token = prepare(engine, items=600)
    engine.dispose()  # plans that were made before there was anything to know of the tables
    with writing(engine) as session:
        for _ in range(15):
            work_on_one_item(session, mira, project, token)
        kept = text("SELECT statement, generic_plans FROM pg_prepared_statements WHERE custom_plans > 4")
        plans = dict(session.execute(kept).all())
    engine.dispose()
    assert len(plans) > 12, "the statements were not seen"
    assert [statement for statement, generic in plans.items() if not generic] == []
