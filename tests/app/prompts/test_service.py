import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent
from app.core.db import reading, writing
from app.prompts import service
from app.prompts.models import PlainText, Prompt, Split, UseCase
from app.prompts.readers import RawRow
from app.prompts.service import PromptFilter
from tests.app.labeling.test_query_plans import plan_of, recorded
from tests.factories import make_project, make_prompt


def raw(*values: object) -> list[RawRow]:
    return [RawRow(number, value) for number, value in enumerate(values, start=1)]


def test_import_takes_good_rows_and_tells_about_the_others(session: Session) -> None:
    project = make_project(session)
    rows = raw(
        {"prompt": "Write about a kite.", "use_case": "generation", "organization": "Mill"},
        {"prompt": "Write about  a kite. "},
        {"prompt": ""},
        {"prompt": "x", "use_case": "poem"},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
        {"prompt": "bad \x00 byte"},
        "just text",
    )
    report = service.import_prompts(session, project, rows, person=None, source="test.jsonl")
    assert [row.number for row in report.taken] == [1]
    assert [row.number for row in report.duplicates] == [2]
    reasons = {row.number: row.reason for row in report.refused}
    assert "neither `prompt` nor `messages`" in reasons[3]
    assert "use_case: Input should be 'generation'" in reasons[4]
    assert "last message must be the user's" in reasons[5]
    assert "can't be kept" in reasons[6]
    assert "not an object" in reasons[7]
    prompt = session.scalars(select(Prompt)).one()
    assert (prompt.source, prompt.source_organisation) == ("test.jsonl", "Mill")
    assert session.scalars(select(AuditEvent.action)).all().count("prompts.import") == 1


def test_importing_again_changes_nothing(session: Session) -> None:
    project = make_project(session)
    rows = raw({"prompt": "One", "user": "ann"}, {"prompt": "Two"})
    service.import_prompts(session, project, rows, person=None, source="s")
    again = service.import_prompts(session, project, rows, person=None, source="s")
    assert (len(again.taken), len(again.duplicates)) == (0, 2)


def test_checking_changes_nothing(session: Session) -> None:
    project = make_project(session)
    assert len(service.check_import(session, project, raw({"prompt": "One"})).taken) == 1
    assert session.scalars(select(Prompt)).all() == []


def test_a_later_import_keeps_a_source_in_its_split(session: Session) -> None:
    project = make_project(session)
    first = raw({"prompt": "One", "organisation": "Mill", "user": "ann", "split": "test"})
    service.import_prompts(session, project, first, person=None, source="s")
    later = raw({"prompt": "Two", "user": "ann"}, {"prompt": "Three", "organisation": "Mill", "split": "train"})
    report = service.check_import(session, project, later)
    assert [row.split for row in report.taken] == [Split.test]
    assert "is in test, but this row asks for train" in report.refused[0].reason


def test_list_filters_searches_and_pages(session: Session) -> None:
    project = make_project(session)
    for number in range(service.PAGE_SIZE + 1):
        make_prompt(session, project, text=f"Prompt {number}")
    make_prompt(session, project, text='Ein "Café" 100%', split=Split.valid, use_case=UseCase.chat)
    make_prompt(session, make_project(session), text="Prompt of others")
    assert service.list_prompts(session, project, PromptFilter()).total == service.PAGE_SIZE + 2
    second = service.list_prompts(session, project, PromptFilter(split=Split.train), page=2)
    assert (len(second.prompts), second.last) == (1, 2)
    for words in ("café", '"Café"', "100%"):
        found = service.list_prompts(session, project, PromptFilter(search=words))
        assert [prompt.use_case for prompt in found.prompts] == [UseCase.chat], words
    assert service.list_prompts(session, project, PromptFilter(search="100_")).total == 0
    assert service.list_prompts(session, project, PromptFilter(use_case=UseCase.extract), page=9).number == 1
    assert service.count_by_split(session, project) == {"train": service.PAGE_SIZE + 1, "valid": 1, "test": 0}


def test_the_newest_are_found_without_sorting_the_pool(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        first, second = (make_prompt(session, project, text=text).id for text in ("First", "Second"))
    with recorded(engine) as statements, reading(engine) as session:
        found = service.list_prompts(session, project, PromptFilter())
    assert [prompt.id for prompt in found.prompts] == sorted((first, second), reverse=True)
    with engine.connect() as connection:
        plans = [line for statement in statements for line in plan_of(connection, statement)]
    assert plans
    assert [line for line in plans if "TEMP B-TREE" in line or "Sort" in line] == []


@pytest.mark.parametrize("split", [None, Split.valid])
def test_texts_are_taken_once(session: Session, split: Split | None) -> None:
    project = make_project(session)
    assert service.add_texts(session, project, [("Once.", split), ("Once.", split)], source="s") == 1
    assert service.add_texts(session, project, [("Once.", split)], source="s") == 0
    assert session.scalars(select(PlainText.split)).one() in ([split] if split else list(Split))


def test_an_import_marks_what_disturbs(session: Session) -> None:
    project = make_project(session)
    rows = raw(
        {"prompt": "A sad one.", "flags": "violent, self_harm"},
        {"prompt": "A list.", "flags": ["sexual"]},
        {"prompt": "Unknown.", "flags": "spooky"},
    )
    report = service.import_prompts(session, project, rows, person=None, source="s")
    marked = {prompt.messages[0]["content"]: prompt.flags for prompt in session.scalars(select(Prompt))}
    assert marked == {"A sad one.": ["self_harm", "violent"], "A list.": ["sexual"]}
    assert "flags.0: Input should be 'sexual'" in report.refused[0].reason
