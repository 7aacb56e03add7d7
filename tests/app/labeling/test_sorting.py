"""Labelers sort prompts without a use case; what they agree on becomes the prompt's."""

import json
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.accounts.models import Person, PersonState
from app.accounts.preferences import Content, Preferences, set_preferences
from app.core.db import reading, writing
from app.core.errors import Conflict, Forbidden, NotFound
from app.datasets.existing.cells import label_rows
from app.datasets.existing.shapes import read_labels
from app.datasets.existing.taking import take_labels
from app.labeling.models import UseCaseLabel
from app.labeling.plans import Planned, add_items
from app.labeling.sorting import count_to_sort, next_to_sort, say_use_case
from app.projects import pauses
from app.projects.models import Project
from app.prompts.models import Prompt, UseCase
from app.prompts.readers import ImportFormat
from app.prompts.service import count_unsorted
from tests.app.quality.rows import make_batch
from tests.factories import make_person, make_project, make_prompt

SignIn = Callable[[Person], TestClient]


def wanted_votes(session: Session, project: Project, votes: int) -> None:
    session.execute(update(Project).where(Project.id == project.id).values(settings={"use_case_votes": votes}))
    session.expire_all()


def one_prompt(
    project: Project, *, text: str | None = None, flags: tuple[str, ...] = (), retired: bool = False
) -> Prompt:
    with writing() as session:
        prompt = make_prompt(session, project, text=text, use_case=UseCase.other)
        prompt.flags, prompt.is_retired = list(flags), retired
        return prompt


def say(project: Project, person: Person, prompt: Prompt, said: UseCase) -> UseCase:
    with writing() as session:
        return say_use_case(session, session.get_one(Project, project.id), person, prompt.id, said).use_case


def asked_of(project: Project, person: Person) -> Prompt | None:
    with reading() as session:
        return next_to_sort(session, project, person, skipped=None)


def is_asked(project: Project, person: Person, prompt: Prompt, *, skipped: Prompt | None = None) -> bool:
    with reading() as session:
        found = next_to_sort(session, project, person, skipped=skipped.id if skipped else None)
        return found is not None and found.id == prompt.id


def test_the_word_of_one_is_enough_unless_the_project_asks_for_more(project: Project, labeler: Person) -> None:
    prompt = one_prompt(project)
    assert is_asked(project, labeler, prompt)
    assert say(project, labeler, prompt, UseCase.rewrite) == UseCase.rewrite
    assert asked_of(project, labeler) is None
    with reading() as session:
        assert count_unsorted(session, project) == 0
        (kept,) = session.scalars(select(UseCaseLabel)).all()
    assert (kept.person_id, kept.use_case) == (labeler.id, UseCase.rewrite)


def test_two_must_agree_and_more_than_say_anything_else(project: Project) -> None:
    prompt = one_prompt(project)
    with writing() as session:
        wanted_votes(session, project, 2)
        one, two, three = (make_person(session, project=project) for _ in range(3))
    assert say(project, one, prompt, UseCase.chat) == UseCase.other
    assert asked_of(project, one) is None, "nobody is asked twice"
    assert say(project, two, prompt, UseCase.rewrite) == UseCase.other
    assert is_asked(project, three, prompt), "they disagree, so a third one is asked"
    assert say(project, three, prompt, UseCase.rewrite) == UseCase.rewrite


def test_who_corrects_a_word_is_counted_once_and_both_are_kept(project: Project, labeler: Person) -> None:
    prompt = one_prompt(project)
    with writing() as session:
        wanted_votes(session, project, 2)
        other = make_person(session, project=project)
    say(project, labeler, prompt, UseCase.chat)
    assert say(project, labeler, prompt, UseCase.chat) == UseCase.other, "the same person again is no second voice"
    say(project, labeler, prompt, UseCase.extract)
    assert say(project, other, prompt, UseCase.extract) == UseCase.extract
    with reading() as session:
        assert len(session.scalars(select(UseCaseLabel)).all()) == 4


def test_a_prompt_that_is_none_of_the_nine_is_asked_about_once(project: Project, labeler: Person) -> None:
    prompt = one_prompt(project)
    say(project, labeler, prompt, UseCase.other)
    with writing() as session:
        assert asked_of(project, make_person(session, project=project)) is None


def test_in_a_batch_the_use_case_stays_since_the_questions_go_by_it(project: Project, labeler: Person) -> None:
    prompt = one_prompt(project)
    with writing() as session:
        batch = make_batch(session, project)
        add_items(session, batch, [Planned(prompt.id)])
    assert asked_of(project, labeler) is None
    with pytest.raises(Conflict, match="no sorting any more"):
        say(project, labeler, prompt, UseCase.chat)
    with reading() as session:
        assert session.get_one(Prompt, prompt.id).use_case == UseCase.other


def test_a_use_case_that_came_with_the_prompt_stays(project: Project, labeler: Person) -> None:
    with writing() as session:
        prompt = make_prompt(session, project, use_case=UseCase.chat)
    assert asked_of(project, labeler) is None
    with pytest.raises(Conflict):
        say(project, labeler, prompt, UseCase.extract)


def test_nobody_sorts_what_they_avoid_nor_what_was_withdrawn(project: Project, labeler: Person) -> None:
    one_prompt(project, flags=("violent",))
    one_prompt(project, retired=True)
    mild = one_prompt(project)
    with writing() as session:
        set_preferences(session, session.get_one(Person, labeler.id), Preferences(avoided=frozenset({Content.violent})))
    with reading() as session:
        mine = session.get_one(Person, labeler.id)
        assert count_to_sort(session, project, mine) == 1
    assert is_asked(project, mine, mild)


def test_a_skipped_prompt_comes_back_only_when_no_other_is_left(project: Project, labeler: Person) -> None:
    one, two = one_prompt(project), one_prompt(project)
    assert all(is_asked(project, labeler, two, skipped=one) for _ in range(9))
    say(project, labeler, two, UseCase.chat)
    assert is_asked(project, labeler, one, skipped=one)


def test_who_is_paused_or_being_screened_sorts_nothing(
    project: Project, labeler: Person, admin: Person, sign_in: SignIn
) -> None:
    prompt = one_prompt(project)
    with writing() as session:
        screened = make_person(session, project=project)
        screened.state = PersonState.screening
        pauses.pause(session, project, labeler, reason="A break.", by=admin)
    for person in (screened, labeler):
        with pytest.raises(Forbidden):
            say(project, person, prompt, UseCase.chat)
        answer = sign_in(person).get(f"/p/{project.slug}/prompts/sort")
        assert answer.status_code == 403
        assert prompt.messages[-1]["content"] not in answer.text


def test_another_projects_prompt_is_none_of_theirs(project: Project, labeler: Person) -> None:
    with writing() as session:
        foreign = make_prompt(session, make_project(session), use_case=UseCase.other)
    with pytest.raises(NotFound):
        say(project, labeler, foreign, UseCase.chat)


def test_the_page_asks_takes_and_says_what_was_taken(project: Project, labeler: Person, sign_in: SignIn) -> None:
    prompt = one_prompt(project, text="Shorten <b>this</b>.")
    client, address = sign_in(labeler), f"/p/{project.slug}/prompts/sort"
    page = client.get(address).text
    assert "1 to sort" in page
    assert "<b>this</b>" not in page
    answer = client.post(address, data={"prompt_id": str(prompt.id), "use_case": "summarization"})
    assert answer.headers["location"] == f"{address}?last={prompt.id}"
    after = client.get(answer.headers["location"]).text
    assert "You said <b>Summarization</b>" in after
    assert "nothing to sort for you" in after
    corrected = client.post(address, data={"prompt_id": str(prompt.id), "use_case": "extract"})
    assert corrected.status_code == 303
    with reading() as session:
        assert session.get_one(Prompt, prompt.id).use_case == UseCase.extract


@pytest.mark.parametrize("said", ["", "poetry"])
def test_no_choice_is_refused_in_words_with_the_same_prompt(
    project: Project, labeler: Person, sign_in: SignIn, said: str
) -> None:
    prompt = one_prompt(project, text="Shorten this, please.")
    one_prompt(project)
    answer = sign_in(labeler).post(
        f"/p/{project.slug}/prompts/sort", data={"prompt_id": str(prompt.id), "use_case": said}
    )
    assert answer.status_code == 422
    assert "Please choose what the prompt is for." in answer.text
    assert "Shorten this, please." in answer.text


def test_prompts_that_came_with_their_labels_hide_no_others(project: Project, labeler: Person, admin: Person) -> None:
    rows = [{"prompt": f"Number {number}?", "chosen": "Yes.", "rejected": "No."} for number in range(60)]
    with writing() as session:
        content = "\n".join(json.dumps(row) for row in rows).encode()
        labels = read_labels(label_rows(content, ImportFormat.jsonl), None)
        take_labels(session, session.get_one(Project, project.id), labels, file="pairs.jsonl", by=admin)
    alone = one_prompt(project)
    with reading() as session:
        assert count_to_sort(session, project, labeler) == 1
        assert count_unsorted(session, project) == 1
    assert is_asked(project, labeler, alone)


def test_a_prompt_that_somebody_else_sorted_is_not_shown_by_its_id(
    project: Project, labeler: Person, sign_in: SignIn
) -> None:
    hidden = one_prompt(project, text="A secret number.", retired=True)
    page = sign_in(labeler).get(f"/p/{project.slug}/prompts/sort?again={hidden.id}")
    assert page.status_code == 200
    assert "A secret number." not in page.text
