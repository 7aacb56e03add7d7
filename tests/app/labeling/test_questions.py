"""What a version of the rating schema asks of a prompt: flags for some use cases, notes or none, help texts."""

import uuid
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.errors import Invalid
from app.labeling.answers import open_item
from app.labeling.bench import open_bench
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, Batch, Item, Ranking, Rating
from app.labeling.questions import Questions, flag_keys, questions_by_use_case, sensitive_flags
from app.labeling.schemas import Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from app.prompts.models import UseCase
from tests.app.labeling.rows import CLOSED, make_ranking_batch, publish_closed
from tests.factories import make_person, make_project

OLD = {"likert": [{"key": "overall"}], "flags": [{"key": "rude", "label": "Is rude", "sensitive": True}]}


def keys(asked: Questions) -> list[str]:
    return [each.key for each in asked.flags]


def test_a_version_that_says_nothing_new_means_what_it_meant() -> None:
    found = questions_by_use_case(OLD)
    (asked,) = set(found.values())
    assert set(found) == set(UseCase)
    assert (keys(asked), asked.unasked, asked.notes, asked.explained) == (
        ["rude"],
        frozenset(),
        ("completion", "ranking"),
        [],
    )


def test_a_flag_is_asked_of_its_use_cases_and_of_prompts_that_have_none() -> None:
    found = questions_by_use_case(CLOSED)
    asked = {use_case for use_case in UseCase if "hallucination" in keys(found[use_case])}
    assert asked == {UseCase.closed_qa, UseCase.summarization, UseCase.other}
    assert found[UseCase.chat].unasked == {"hallucination"}
    assert [each.key for each in found[UseCase.chat].explained] == ["overall"]
    assert [each.key for each in found[UseCase.closed_qa].explained] == ["overall", "hallucination"]


def test_what_is_asked_alike_is_one_object() -> None:
    """The cards that are kept go by it: two for this version, however many use cases there are."""
    found = questions_by_use_case(CLOSED)
    assert found[UseCase.closed_qa] is found[UseCase.summarization] is found[UseCase.other]
    assert len(set(found.values())) == 2


def test_a_screening_compares_the_sensitive_flags_that_were_asked() -> None:
    marked = {"flags": [{"key": "rude", "sensitive": True, "use_cases": ["chat"]}, {"key": "long"}]}
    assert sensitive_flags(marked) == sensitive_flags(marked, UseCase.chat) == {"rude"}
    assert sensitive_flags(marked, UseCase.extract) == set()  # and not all others instead
    assert sensitive_flags(CLOSED, UseCase.chat) == flag_keys(CLOSED, UseCase.chat) == {"fails_task"}


def lease(session: Session, project: Project, use_case: UseCase, **more: Any) -> tuple[Person, Assignment]:
    publish_closed(session, project, **more)
    make_ranking_batch(session, project, use_case=use_case)
    person = make_person(session, project=project)
    assignment = lease_next(session, person, project)
    assert assignment is not None
    return person, assignment


def sent(**values: Any) -> dict[str, Any]:
    ranks = {"A": 1, "B": 2, "C": 2, "D": 3}
    return {"submission_key": str(uuid.uuid4()), "ranks": ranks, **values}


@pytest.mark.parametrize("use_case", [UseCase.closed_qa, UseCase.other])
def test_a_flag_that_was_asked_is_stored(session: Session, use_case: UseCase) -> None:
    person, assignment = lease(session, make_project(session), use_case)
    submission = Submission(**sent(ratings={"A": {"flags": ["hallucination"]}}))
    submit(session, person, assignment.id, submission)
    assert session.scalars(select(Rating.flags)).all() == [["hallucination"]]


def test_a_flag_for_other_use_cases_is_refused_in_words(session: Session) -> None:
    person, assignment = lease(session, make_project(session), UseCase.open_qa)
    submission = Submission(**sent(ratings={"B": {"flags": ["hallucination"]}, "C": {"flags": ["nonsense"]}}))
    with pytest.raises(Invalid) as refused:
        submit(session, person, assignment.id, submission)
    assert refused.value.fields == {
        "flags_B": "The flag 'hallucination' is not asked of open qa prompts: leave it out.",
        "flags_C": "There is no flag 'nonsense'.",
    }
    assert session.scalar(select(func.count()).select_from(Ranking)) == 0
    submit(session, person, assignment.id, Submission(**sent()))
    assert session.scalar(select(func.count()).select_from(Ranking)) == 1


def test_notes_that_are_not_asked_for_are_refused_in_words(session: Session) -> None:
    project = make_project(session)
    person, assignment = lease(session, project, UseCase.chat, notes=["ranking"])
    with pytest.raises(Invalid) as refused:
        submit(session, person, assignment.id, Submission(**sent(ratings={"A": {"note": "Dull."}}, note="All dull.")))
    assert list(refused.value.fields) == ["note_A"]
    submit(session, person, assignment.id, Submission(**sent(note="All dull.")))
    assert session.scalars(select(Ranking.note)).one() == "All dull."
    person, assignment = lease(session, project, UseCase.chat, notes=[])
    with pytest.raises(Invalid) as refused:
        submit(session, person, assignment.id, Submission(**sent(note="All dull.")))
    assert list(refused.value.fields) == ["note"]
    assert open_bench(session, person, assignment.id).questions.notes == ()


def test_a_known_answer_speaks_of_the_flags_of_its_prompt(session: Session) -> None:
    _, assignment = lease(session, make_project(session), UseCase.chat)
    item = session.get_one(Item, assignment.item_id)
    sheet = open_item(session, session.get_one(Batch, item.batch_id), item.id)
    assert sheet.flags == {"fails_task": "Fails the task"}
