"""Imports of prompts from end to end: what is in the pool and in the report afterwards."""

import csv
import gzip
import io
import json
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.errors import Conflict
from app.core.storage import Artefacts, get_artefacts
from app.core.store_errors import StoreAway
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.intake import acts, discarding, report, service, settling, taking
from app.prompts.intake.settings import ImportSettings
from app.prompts.models import HeldFor, ImportState, Prompt, PromptImport, PromptKind, Verdict
from app.prompts.readers import RawRow
from tests.app.prompts.intake.at_work import draft, jsonl, start, take, texts, work
from tests.conftest import SignIn
from workers.jobs import prompt_import
from workers.jobs.sweep import sweep_once


def pool(project: Project) -> list[Prompt]:
    with reading() as session:
        query = select(Prompt).where(Prompt.project_id == project.id, Prompt.is_retired.is_(False))
        return list(session.scalars(query.order_by(Prompt.import_row, Prompt.id)))


def all_prompts() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Prompt)) or 0


def left_out(row: PromptImport) -> list[dict[str, object]]:
    return [json.loads(line) for line in b"".join(report.left_out_jsonl(get_artefacts(), row)).splitlines()]


@pytest.fixture
def installation_url(database_url: str) -> str:
    """On both databases."""
    return database_url


def test_rows_are_taken_and_the_others_reported(project: Project, admin: Person) -> None:
    content = jsonl({"prompt": "One", "user": 7}, {"prompt": "One"}, {"prompt": ""}, "text") + b"{oops\n"
    row = take(project, admin, content)
    assert (row.state, row.total, row.position) == (ImportState.done, 5, 0)
    assert row.counts == {"taken": 1, "duplicate": 1, "refused": 3}
    [prompt] = pool(project)
    assert (prompt.source, prompt.source_user, prompt.import_id, prompt.import_row) == ("file.jsonl", "7", row.id, 1)
    said = left_out(row)
    assert [(each["line"], each["verdict"]) for each in said] == [
        (2, "duplicate"), (3, "refused"), (4, "refused"), (5, "refused")
    ]  # fmt: skip
    assert said[1]["row"] == {"prompt": ""}
    assert "no text in `prompt`" in str(said[1]["reason"])
    lines = list(csv.DictReader(io.StringIO(b"".join(report.left_out_csv(get_artefacts(), row)).decode())))
    assert [line["line"] for line in lines] == ["2", "3", "4", "5"]
    with reading() as session:
        assert [each.number for each in report.first_left_out(session, row, Verdict.refused)] == [3, 4, 5]
    assert row.upload_key is None  # what was sent is not kept for longer than it takes


def test_nothing_is_in_use_before_all_of_it_is(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "ROWS_AT_ONCE", 2)
    import_id = draft(project, admin, jsonl(*({"prompt": f"Number {n}"} for n in range(5))))
    start(import_id, admin)
    seen: list[int] = []

    def interrupted(held: prompt_import.Held) -> None:
        seen.append(len(pool(project)))
        raise prompt_import.Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(prompt_import, "_settle", interrupted)
        assert work(import_id).state == ImportState.stopped
    assert seen == [0]
    with writing() as session:
        service.resume(session, session.get_one(PromptImport, import_id), by=admin)
    assert work(import_id).counts == {"taken": 5}
    assert texts(pool(project)) == [f"Number {n}" for n in range(5)]


def test_what_is_stopped_goes_on_or_goes_away(project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "ROWS_AT_ONCE", 2)
    import_id = draft(project, admin, jsonl(*({"prompt": f"Number {n}"} for n in range(7))))
    start(import_id, admin)
    read_chunk, chunks = taking.read_chunk, iter(range(10))

    def asked_to_stop(*args: object) -> object:
        if next(chunks) == 1:
            with writing() as session:
                service.ask_to_stop(session, session.get_one(PromptImport, import_id), by=admin)
        return read_chunk(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(taking, "read_chunk", asked_to_stop)
    stopped = work(import_id)
    assert (stopped.state, stopped.position, stopped.counts) == (ImportState.stopped, 4, {"taken": 4})
    with reading() as session:
        row = session.get_one(PromptImport, import_id)
        assert len(settling.held_prompts(session, row, HeldFor.arriving)) == 4
    assert get_artefacts().exists(str(stopped.upload_key))
    acts.act_on(project, import_id, "discard", by=admin)
    assert not get_artefacts().exists(str(stopped.upload_key))
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Prompt)) == 0
        with pytest.raises(Conflict, match="discarded"):
            service.resume(session, session.get_one(PromptImport, import_id), by=admin)


def test_what_is_in_use_is_never_discarded(
    sign_in: SignIn, project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "ROWS_AT_ONCE", 2)
    import_id = draft(project, admin, jsonl(*({"prompt": f"Number {n}"} for n in range(5))))
    start(import_id, admin)
    settle_chunk = settling.settle_chunk

    def asked_to_stop(*args: Any, **values: Any) -> bool:
        settle_chunk(*args, **values)
        return True

    with monkeypatch.context() as patch:
        patch.setattr(settling, "settle_chunk", asked_to_stop)
        assert work(import_id).state == ImportState.stopped
    with pytest.raises(Conflict, match="2 prompts of this import are in use already"):
        acts.act_on(project, import_id, "discard", by=admin)
    page = f"/p/{project.slug}/prompts/imports/{import_id}"
    assert "prompts of it are in use already" in sign_in(admin).get(page).text
    assert "Discard what arrived" not in sign_in(admin).get(page).text
    in_use = pool(project)
    assert (len(in_use), all_prompts()) == (2, 5)
    for prompt in in_use:
        with writing() as session:
            prompts.withdraw(session, session.get_one(Prompt, prompt.id), by=admin)
    assert "Discard what arrived" in sign_in(admin).get(page).text
    assert acts.act_on(project, import_id, "discard", by=admin).state == ImportState.discarded
    assert all_prompts() == 2, "what was in use is withdrawn, and stays"


def test_what_a_large_discard_leaves_goes_with_the_sweeps(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discarding, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(discarding, "PARTS_AT_ONCE", 1)
    content, settings = jsonl(*({"prompt": f"Number {n}"} for n in range(8, 13))), ImportSettings(least_characters=9)
    import_id, again = (draft(project, admin, content, settings=settings) for _ in range(2))
    start(import_id, admin)
    with monkeypatch.context() as patch:
        patch.setattr(prompt_import, "_settle", interrupted)
        row = work(import_id)
    assert row.counts == {"taken": 5, "held_length": 2}
    assert acts.act_on(project, import_id, "discard", by=admin).state == ImportState.discarded
    start(again, admin)
    for left in (3, 1, 0):
        assert work(again).state == ImportState.queued  # or it would find itself in the pool
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(Prompt)) == left
        sweep_once()
    assert not get_artefacts().exists(str(row.upload_key))
    assert work(again).counts == {"taken": 5, "held_length": 2}


def test_an_upload_that_the_store_would_not_remove_is_not_forgotten(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = draft(project, admin, jsonl({"prompt": "One"}))

    def away(*_: object) -> None:
        raise StoreAway("The artefact store does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(Artefacts, "remove", away)
        with pytest.raises(StoreAway):
            acts.act_on(project, import_id, "discard", by=admin)
        sweep_once()  # and ends none of what else it does
    with reading() as session:
        key = session.get_one(PromptImport, import_id).upload_key
    assert key is not None
    assert get_artefacts().exists(key)
    sweep_once()
    assert not get_artefacts().exists(key)


def interrupted(_: prompt_import.Held) -> None:
    raise prompt_import.Interrupted


def test_a_chunk_whose_answer_was_lost_is_taken_once(project: Project, admin: Person) -> None:
    import_id = draft(project, admin, jsonl({"prompt": "One"}, {"prompt": "Two"}))
    start(import_id, admin)
    with writing() as session:
        held = service.claim(session, import_id, worker="w")
    assert held is not None
    read = taking.read_chunk(
        [RawRow(1, {"prompt": "One"})], ImportSettings.model_validate({"columns": {"prompt": "prompt"}})
    )
    for _ in range(2):
        with writing() as session:
            taking.take_chunk(session, held, read, start=0, position=1, book=prompts_book(), store=get_artefacts())
    with reading() as session:
        assert session.get_one(PromptImport, import_id).counts == {"taken": 1}


def prompts_book() -> object:
    from app.prompts.splits import SplitBook

    return SplitBook()


def test_one_import_of_a_project_at_a_time(project: Project, admin: Person) -> None:
    first, second = (draft(project, admin, jsonl({"prompt": text})) for text in ("One", "Two"))
    for import_id in (first, second):
        start(import_id, admin)
    with writing() as session:
        assert service.claim(session, first, worker="a") is not None
    with writing() as session:
        assert service.claim(session, second, worker="b") is None
        assert service.claim(session, first, worker="b") is None


def test_silent_workers_lose_their_import(project: Project, admin: Person) -> None:
    import_id = draft(project, admin, jsonl({"prompt": "One"}))
    start(import_id, admin)
    for attempt in range(1, service.MAX_ATTEMPTS + 1):
        with writing() as session:
            held = service.claim(session, import_id, worker="dies")
            assert held is not None
            assert held.attempts == attempt
            held.heartbeat_at = held.created_at.replace(year=2020)
        with writing() as session:
            assert service.sweep(session, workers=1) == 1
        with writing() as session, pytest.raises(service.ClaimLost):
            service.progress(session, import_id, claim="dies#1")
    with reading() as session:
        row = session.get_one(PromptImport, import_id)
        assert row.state == ImportState.failed
        assert "died 5 times" in str(row.error)


def parquet(rows: list[dict[str, object]], **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, **options)
    return out.getvalue()


def test_parquet_csv_and_packed_files_say_the_same(project: Project, admin: Person) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    rows: list[dict[str, object]] = [{"messages": chat, "group": "Mill"}, {"messages": [], "group": None}]
    first = take(project, admin, parquet(rows), name="a.parquet")
    assert (first.format, first.counts) == ("parquet", {"taken": 1, "refused": 1})
    assert (pool(project)[0].messages, pool(project)[0].source_organisation) == (chat, "Mill")
    again = take(project, admin, gzip.compress(jsonl(*rows)), name="b.jsonl.gz")
    assert again.counts == {"duplicate": 1, "refused": 1}
    table = "Messages;group\n" + ";".join(['"' + json.dumps(chat).replace('"', '""') + '"', "Mill"]) + "\n"
    assert take(project, admin, table.encode(), name="c.csv").counts == {"duplicate": 1}


def test_columns_without_a_name_are_left_out(project: Project, admin: Person) -> None:
    """As spreadsheets and pandas write their row numbers."""
    assert take(project, admin, b",Question,\n0,What is it?,x\n1,,x\n", name="a.csv").counts == {
        "taken": 1,
        "refused": 1,
    }
    assert texts(pool(project)) == ["What is it?"]


def test_examples_make_a_prompt_each(project: Project, admin: Person) -> None:
    pairs = [{"input": f"q{n}", "output": f"a{n}"} for n in range(3)]
    row = take(project, admin, jsonl({"instruction": "Answer.", "instances": pairs}))
    assert row.counts == {"taken": 3}
    found = pool(project)
    assert "Answer.\n\nq1\na1\n\nq2\na2\n\nq0" in texts(found)
    assert {prompt.kind for prompt in found} == {PromptKind.few_shot}
    assert {prompt.import_row for prompt in found} == {1}


def test_conversations_end_with_the_user(project: Project, admin: Person) -> None:
    chat = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    row = take(project, admin, jsonl({"conversations": chat}))
    assert "last message must be the user's" in str(left_out(row)[0]["reason"])
    row = take(project, admin, jsonl({"conversations": chat}), up_to_last_user=True)
    assert row.counts == {"taken": 1}
    assert pool(project)[0].messages == [{"role": "user", "content": "Hi"}]


def test_of_turns_that_are_texts_the_first_is_the_prompt(project: Project, admin: Person) -> None:
    """MT-bench's, all of the user's: those behind it follow answers that the file does not have."""
    rows = [{"question_id": 1, "category": "writing", "turns": ["Write a poem.", "Now rhyme it."]}, {"turns": [""]}]
    assert take(project, admin, jsonl(*rows)).counts == {"taken": 1, "refused": 1}
    assert pool(project)[0].messages == [{"role": "user", "content": "Write a poem."}]


def test_a_prompt_may_begin_like_a_list(project: Project, admin: Person) -> None:
    rows = [{"prompt": "[1, 2]"}, {"prompt": "[x] is what?"}, {"prompt": '["a", "b"]'}, {"prompt": "{}"}]
    assert take(project, admin, jsonl(*rows)).counts == {"taken": 4}
    assert texts(pool(project)) == [row["prompt"] for row in rows]


def test_a_source_stays_in_its_split_across_chunks(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "ROWS_AT_ONCE", 1)
    rows = [
        {"prompt": f"Number {n}", "organisation": "Mill", "split": split}
        for n, split in enumerate(("test", "", "train"))
    ]
    row = take(project, admin, jsonl(*rows))
    assert row.counts == {"taken": 2, "refused": 1}
    assert {prompt.split for prompt in pool(project)} == {"test"}


def test_a_request_and_an_import_judge_alike(project: Project, admin: Person) -> None:
    """What the pool has by one way is a duplicate by the other."""
    take(project, admin, b"Write a  story.\n", name="a.txt")
    with writing() as session:
        rows = [RawRow(1, {"prompt": "Write a story."})]
        again = prompts.import_prompts(session, project, rows, person=None, source="api")
    assert len(again.duplicates) == 1


def test_an_unknown_import_is_not_there(project: Project) -> None:
    with reading() as session, pytest.raises(Exception, match="no such import"):
        service.import_of_project(session, project, uuid.uuid4())
