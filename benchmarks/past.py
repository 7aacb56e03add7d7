"""A past for the benchmark: millions of finished items that the database itself copies from one of each K."""

import time
import uuid

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.db import Base, writing
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, Batch, Completion, Item, ItemCompletion, Ranking, RankingPlace, Rating
from app.labeling.schemas import CompletionRating, Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from app.prompts.models import Prompt
from app.tables import metadata
from benchmarks.filling import KINDS, add_fresh_items

SUBMITTED = "2026-01-01 00:00:00.000000"  # when the finished items were: not today
RATED = 1  # rankings of a finished item that have ratings too: ten times ten would take another 20 GB
MOST_EACH = 16  # rankings of one item, and completions: what an id leaves room for
_COMPLETIONS = "SELECT completion_id FROM item_completion WHERE item_id = :item"
_RANKING = "SELECT id FROM ranking WHERE assignment_id = :assignment"
# What is copied, from which rows `t` of a finished item, and the column that names its completion.
COPIED: dict[type[Base], tuple[str, str]] = {
    Prompt: ("t.id = (SELECT prompt_id FROM item WHERE id = :item)", ""),
    Item: ("t.id = :item", ""),
    Completion: (f"t.id IN ({_COMPLETIONS})", "id"),
    ItemCompletion: ("t.item_id = :item", "completion_id"),
    Assignment: ("t.id = :assignment", ""),
    Ranking: ("t.assignment_id = :assignment", ""),
    RankingPlace: (f"t.ranking_id IN ({_RANKING})", "completion_id"),
    Rating: (f"t.ranking_id IN ({_RANKING})", "completion_id"),
}


def fill(engine: Engine, project: Project, batch: Batch, people: list[Person], *, items: int, rankings: int) -> None:
    """`items` finished items with `rankings` in all, each by another of `people`."""
    each = rankings // items
    assert 1 <= each <= min(MOST_EACH, len(people)), "a labeler ranks an item once"
    with writing(engine) as session:
        add_fresh_items(session, batch, KINDS)
        finished = [_rank_one(session, people[0], project) for _ in range(KINDS)]
    with engine.connect() as connection:
        _prepare(connection)
        first = 1 + connection.scalar(text("SELECT max(position) FROM item"))
        _number(connection, "once", range(first, first + items), 1)
        _number(connection, "each", range(first, first + items), each)
        _keep_labelers(connection, people)
        for kind in COPIED:
            began = time.monotonic()
            _set_apart(connection, kind, finished)
            table = metadata.tables[kind.__tablename__]
            for index in table.indexes:
                index.drop(connection)
            rows = _copy(connection, table, kind, people=len(people), each=each)
            for index in table.indexes:  # sorted once, rather than kept sorted row by row
                index.create(connection)
            if not _is_sqlite(connection):
                connection.commit()
            print(f"{rows:,} of {kind.__tablename__} in {time.monotonic() - began:.0f} s", flush=True)
        _finish(connection)


def _rank_one(session: Session, person: Person, project: Project) -> Assignment:
    assignment = lease_next(session, person, project)
    assert assignment is not None
    letters = "ABCDEFGHI"[: len(assignment.shown_order)]
    ratings = {letter: CompletionRating(likert={"overall": 4}, flags=["hallucination"]) for letter in letters}
    ranks = {letter: rank for rank, letter in enumerate(letters, 1)}
    submit(session, person, assignment.id, Submission(submission_key=str(uuid.uuid4()), ranks=ranks, ratings=ratings))
    return assignment


def _prepare(connection: Connection) -> None:
    if _is_sqlite(connection):
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-1000000"):
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql(f"PRAGMA {pragma}")
            connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET session_replication_role = replica")  # the copies' keys need no check
        connection.exec_driver_sql("SET work_mem = '256MB'")
        connection.exec_driver_sql("SET maintenance_work_mem = '1GB'")
        connection.exec_driver_sql("SET synchronous_commit = off")


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _finish(connection: Connection) -> None:
    connection.commit()
    if _is_sqlite(connection):
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN")
    connection.invalidate()  # with the settings of this connection


def _number(connection: Connection, name: str, numbers: range, times: int) -> None:
    """A table of numbers `i`, each of them `times` times, which `j` counts; it lies in this order."""
    connection.execute(text(f"CREATE TEMPORARY TABLE {name} (i BIGINT, j BIGINT)"))
    following = "SELECT i + (j + 1) / :times, (j + 1) % :times FROM n WHERE i < :last OR j + 1 < :times"
    counting = f"SELECT CAST(:first AS BIGINT), 0 UNION ALL {following}"
    query = f"INSERT INTO {name} WITH RECURSIVE n(i, j) AS ({counting}) SELECT i, j FROM n"  # noqa: S608
    connection.execute(text(query), {"first": numbers[0], "last": numbers[-1], "times": times})


def _keep_labelers(connection: Connection, people: list[Person]) -> None:
    connection.execute(text("CREATE TEMPORARY TABLE labeler (number INTEGER PRIMARY KEY, id CHAR(36))"))
    numbered = [{"number": n, "id": _written(connection, person.id)} for n, person in enumerate(people)]
    connection.execute(text("INSERT INTO labeler VALUES (:number, :id)"), numbered)


def _written(connection: Connection, value: uuid.UUID) -> str:
    return value.hex if _is_sqlite(connection) else str(value)


def _set_apart(connection: Connection, kind: type[Base], finished: list[Assignment]) -> None:
    """The rows to copy in a table of their own: a statement that fills the table it reads would first keep all rows."""
    where, completion = COPIED[kind]
    name = kind.__tablename__
    same = "item_id = :item AND completion_id"
    place = f"(SELECT position FROM item_completion WHERE {same} = t.{completion})" if completion else "0"  # noqa: S608
    pattern = f'CREATE TEMPORARY TABLE of_{name} AS SELECT 0 AS of_kind, 0 AS of_place, t.* FROM "{name}" t LIMIT 0'  # noqa: S608
    connection.execute(text(pattern))
    connection.execute(text(f"CREATE INDEX ix_of_{name} ON of_{name} (of_kind)"))
    for number, each in enumerate(finished):
        query = f'INSERT INTO of_{name} SELECT {number}, {place}, t.* FROM "{name}" t WHERE {where}'  # noqa: S608
        keys = {"item": each.item_id, "assignment": each.id}
        given = {key: value.hex if _is_sqlite(connection) else value for key, value in keys.items()}
        connection.execute(text(query), {key: value for key, value in given.items() if f":{key}" in query})


def _copy(connection: Connection, table: Table, kind: type[Base], *, people: int, each: int) -> int:
    """Copies of the finished items, one for each number, in the order of their ids: the keys grow at their end."""
    changed = _changed(connection, kind, people=people, each=each)
    quoted = ", ".join(f'"{column.name}"' for column in table.columns)
    columns = ", ".join(changed.get(column.name, f't."{column.name}"') for column in table.columns)
    is_of_labeler = kind in (Assignment, Ranking, RankingPlace, Rating)
    source = f"{'each' if is_of_labeler else 'once'} n CROSS JOIN of_{table.name} t"
    only = f" AND n.j < {RATED}" if kind is Rating else ""
    rows = f"SELECT {columns} FROM {source} WHERE t.of_kind = n.i % {KINDS}{only}"  # noqa: S608
    return connection.execute(text(f'INSERT INTO "{table.name}" ({quoted}) {rows}')).rowcount


def _changed(connection: Connection, kind: type[Base], *, people: int, each: int) -> dict[str, str]:
    """What the copy `n.i`, by the labeler `n.j`, has other than its pattern `t`."""
    is_sqlite = _is_sqlite(connection)

    def numbered(number: str) -> str:
        """An id by number, older than all that come after: new rows meet it in the indexes as they do in the wild."""
        if is_sqlite:
            return f"printf('01%030x', {number})"
        return f"('01' || lpad(to_hex(({number})::bigint), 30, '0'))::uuid"

    item, completion = numbered("n.i"), numbered(f"n.i * {MOST_EACH} + t.of_place")
    one = f"(n.i * {MOST_EACH} + n.j)"
    ranking = numbered(one)
    labeler = f"(SELECT l.id FROM labeler l WHERE l.number = (n.i + n.j) % {people})"  # noqa: S608
    by_labeler = {"id": ranking, "item_id": item, "person_id": labeler if is_sqlite else f"{labeler}::uuid"}
    submitted = f"'{SUBMITTED}'" if is_sqlite else f"'{SUBMITTED}'::timestamptz"
    hashed = "printf('%032x', n.i)" if is_sqlite else "lpad(to_hex(n.i), 32, '0')"
    places = dict.fromkeys(("wanted", "taken", "got"), str(each))
    return {
        Prompt: {"id": item, "content_hash": hashed},
        Item: {"id": item, "prompt_id": item, "position": "n.i", **places},
        Completion: {"id": completion, "prompt_id": item},
        ItemCompletion: {"item_id": item, "completion_id": completion},
        Assignment: {**by_labeler, "submission_key": f"'copy-' || {one}", "submitted_at": submitted},
        Ranking: {**by_labeler, "assignment_id": ranking},
        RankingPlace: {"ranking_id": ranking, "completion_id": completion},
        Rating: {
            "id": numbered(f"{one} * {MOST_EACH} + t.of_place"), "ranking_id": ranking, "completion_id": completion,
        },
    }[kind]  # fmt: skip
