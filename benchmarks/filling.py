"""Rows for the benchmark: fresh items to label, and a past of a million items that the database itself copies."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, select, text
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.db import writing
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, Batch, Completion, Item, ItemCompletion, Ranking, RankingPlace, Rating
from app.labeling.schemas import CompletionRating, Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from app.prompts.models import Prompt, Split, UseCase
from app.tables import metadata

TALE = "the dog ran home and found a little red ball under the old apple tree while rain fell on every roof"
FEWEST, MOST = 4, 9  # completions of an item
SHORTEST, LONGEST = 60, 180  # words of a completion
KINDS = MOST - FEWEST + 1
PAST = "2026-01-01 00:00:00.000000"  # when the finished items were submitted: not today


def some_text(chance: random.Random) -> str:
    return " ".join(chance.choices(TALE.split(), k=chance.randint(SHORTEST, LONGEST)))


def fresh_texts(first: int, count: int) -> Iterator[tuple[int, str, list[str]]]:
    """Position, prompt and completions of `count` items."""
    chance = random.Random(count)
    for position in range(first, first + count):
        prompt = f"Write a story about a dog and a ball, number {position}. {some_text(chance)}"
        yield position, prompt, [some_text(chance) for _ in range(FEWEST + position % KINDS)]


def add_fresh_items(session: Session, batch: Batch, count: int) -> None:
    """Items that wait for a labeler, behind those that are there."""
    first = (session.scalar(select(func.max(Item.position)).where(Item.batch_id == batch.id)) or 0) + 1
    rows: dict[type, list[dict[str, Any]]] = {Prompt: [], Item: [], Completion: [], ItemCompletion: []}
    for position, said, completions in fresh_texts(first, count):
        prompt, item = uuid.uuid4(), uuid.uuid4()
        rows[Prompt].append({
            "id": prompt, "project_id": batch.project_id, "messages": [{"role": "user", "content": said}],
            "use_case": UseCase.generation, "split": Split.train, "source": "benchmark", "content_hash": prompt.hex,
        })  # fmt: skip
        rows[Item].append({"id": item, "batch_id": batch.id, "prompt_id": prompt, "position": position, "wanted": 1})
        for place, words in enumerate(completions):
            completion = uuid.uuid4()
            rows[Completion].append({"id": completion, "prompt_id": prompt, "number": place, "text": words})
            rows[ItemCompletion].append({"item_id": item, "completion_id": completion, "position": place})
    for kind, values in rows.items():
        session.execute(insert(kind), values)


def fill(engine: Engine, project: Project, batch: Batch, people: list[Person], *, items: int, rankings: int) -> None:
    """`items` finished items with `rankings` in all (each by another of `people`), copied from one item of each K."""
    each = rankings // items
    assert 1 <= each <= len(people), "a labeler ranks an item once"
    with writing(engine) as session:
        add_fresh_items(session, batch, KINDS)
        patterns = [_rank_one(session, people[0], project) for _ in range(KINDS)]
    with engine.connect() as connection:
        _prepare(connection, people)
        first = 1 + connection.scalar(text("SELECT max(position) FROM item"))
        for number, pattern in enumerate(patterns):
            copies = range(first + number, first + items, KINDS)
            _copy(connection, pattern, copies, each=each, people=len(people))
        _finish(connection)


def _rank_one(session: Session, person: Person, project: Project) -> Assignment:
    assignment = lease_next(session, person, project)
    assert assignment is not None
    letters = "ABCDEFGHI"[: len(assignment.shown_order)]
    ratings = {letter: CompletionRating(likert={"overall": 4}, flags=["hallucination"]) for letter in letters}
    ranks = {letter: rank for rank, letter in enumerate(letters, 1)}
    submit(session, person, assignment.id, Submission(submission_key=str(uuid.uuid4()), ranks=ranks, ratings=ratings))
    return assignment


def _prepare(connection: Connection, people: list[Person]) -> None:
    if connection.dialect.name == "sqlite":
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-1000000"):
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql(f"PRAGMA {pragma}")
            connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET session_replication_role = replica")  # the copies' keys need no check
        connection.exec_driver_sql("SET work_mem = '256MB'")
    connection.execute(text("CREATE TEMPORARY TABLE labeler (number INTEGER PRIMARY KEY, id CHAR(36))"))
    is_sqlite = connection.dialect.name == "sqlite"
    numbered = [{"number": n, "id": person.id.hex if is_sqlite else str(person.id)} for n, person in enumerate(people)]
    connection.execute(text("INSERT INTO labeler VALUES (:number, :id)"), numbered)


def _finish(connection: Connection) -> None:
    connection.commit()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN")
    connection.invalidate()  # with the settings of this connection


def _copy(connection: Connection, pattern: Assignment, numbers: range, *, each: int, people: int) -> None:
    """Copies of one finished item, one for each of `numbers`: the same rows under other ids."""
    is_sqlite = connection.dialect.name == "sqlite"

    def numbered(number: str) -> str:
        """An id by number, older than all that come after: new rows meet it in the indexes as they do in the wild."""
        if is_sqlite:
            return f"printf('01%030x', {number})"
        return f"('01' || lpad(to_hex(({number})::bigint), 30, '0'))::uuid"

    given = {"item": pattern.item_id, "assignment": pattern.id}
    values = {name: value.hex if is_sqlite else value for name, value in given.items()}
    values |= {"first": numbers.start, "last": numbers[-1], "step": KINDS, "each": each, "past": PAST}  # type: ignore[dict-item]
    item, one = "n.i", "(n.i * 16 + j.i)"
    labeler = f"(SELECT l.id FROM labeler l WHERE l.number = (n.i + j.i) % {people})"  # noqa: S608
    labeler = labeler if is_sqlite else f"{labeler}::uuid"
    prompt = "(SELECT prompt_id FROM item WHERE id = :item)"
    theirs = "SELECT completion_id FROM item_completion WHERE item_id = :item"
    place = "(SELECT position FROM item_completion WHERE item_id = :item AND completion_id = t.{})"
    completion = numbered(f"n.i * 16 + {place}").format("completion_id")
    ranking = "SELECT id FROM ranking WHERE assignment_id = :assignment"
    of_ranking = {"ranking_id": numbered(one), "completion_id": completion}
    hash_of = "printf('%032x', n.i)" if is_sqlite else "lpad(to_hex(n.i), 32, '0')"
    done = {"wanted": ":each", "taken": ":each", "got": ":each"}
    by_labeler = {"id": numbered(one), "item_id": numbered(item), "person_id": labeler}
    key = f"'copy-' || {one}"
    past = f"CAST(:past AS {'TEXT' if is_sqlite else 'TIMESTAMPTZ'})"
    for kind, where, changed, is_of_labeler in (
        (Prompt, f"id = {prompt}", {"id": numbered(item), "content_hash": hash_of}, False),
        (Item, "id = :item", {"id": numbered(item), "prompt_id": numbered(item), "position": item, **done}, False),
        (Completion, f"id IN ({theirs})", {"id": completion.replace("t.completion_id", "t.id"),
                                          "prompt_id": numbered(item)}, False),
        (ItemCompletion, "item_id = :item", {"item_id": numbered(item), "completion_id": completion}, False),
        (Assignment, "id = :assignment", {**by_labeler, "submission_key": key, "submitted_at": past}, True),
        (Ranking, "assignment_id = :assignment", {**by_labeler, "assignment_id": numbered(one)}, True),
        (RankingPlace, f"ranking_id IN ({ranking})", of_ranking, True),
        (Rating, f"ranking_id IN ({ranking})", {"id": numbered(f"{one} * 16 + {place}").format("completion_id"),
                                               **of_ranking}, True),
    ):  # fmt: skip
        _copy_rows(connection, metadata.tables[kind.__tablename__], where, changed, values, is_of_labeler=is_of_labeler)


def _copy_rows(
    connection: Connection,
    table: Table,
    where: str,
    changed: dict[str, str],
    values: dict[str, Any],
    *,
    is_of_labeler: bool,
) -> None:
    names = [column.name for column in table.columns]
    columns = ", ".join(changed.get(name, f't."{name}"') for name in names)
    series = (
        "n(i) AS (SELECT CAST(:first AS INTEGER) UNION ALL SELECT i + :step FROM n WHERE i + :step <= :last), "
        "j(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM j WHERE i + 1 < :each)"
    )
    source = f'n CROSS JOIN {"j CROSS JOIN " if is_of_labeler else ""}"{table.name}" t'
    quoted = ", ".join(f'"{name}"' for name in names)
    query = (
        f'INSERT INTO "{table.name}" ({quoted}) WITH RECURSIVE {series} SELECT {columns} FROM {source} WHERE {where}'  # noqa: S608
    )
    wanted = {name: value for name, value in values.items() if f":{name}" in query}
    connection.execute(text(query), wanted)
    connection.commit() if connection.dialect.name != "sqlite" else None
