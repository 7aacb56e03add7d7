"""The playground's page: who may ask, what is refused and why, and what a question says while it waits."""

import asyncio
import re
import threading
import uuid
from collections.abc import Iterator

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import writing
from app.core.queue import Queue
from app.playground import line, service
from app.playground.line import Asked
from app.playground.listening import listen
from app.playground.questions import Question
from app.projects.models import Project
from app.registry.models import Model, ModelKind, ModelState
from app.runs import service as runs
from app.runs import workers
from app.runs.configs import RunKind
from app.runs.workers import Device
from tests.app.playground.answering import idle_worker
from tests.app.runs.rows import make_run
from tests.conftest import SignIn
from tests.factories import make_model, make_project, make_prompt

TYPED = {
    "role_1": "user",
    "text_1": "Tell me of the sea.",
    "temperature": "0.7",
    "top_p": "0.9",
    "max_new_tokens": "50",
}


@pytest.fixture
def models(project: Project) -> list[Model]:
    """SFT, what PPO made of it, and a reward model."""
    with writing() as session:
        sft = make_model(session, project, kind=ModelKind.sft, name="sft-1")
        policy = make_model(session, project, kind=ModelKind.policy, name="ppo-1")
        policy.parent_id = sft.id
        return [sft, policy, make_model(session, project, kind=ModelKind.reward, name="rm-1")]


@pytest.fixture
def line_up(installation: Settings) -> Iterator[redis.Redis]:
    with idle_worker(installation) as client:
        yield client


def _address(project: Project) -> str:
    return f"/p/{project.slug}/models/playground"


def _form(models: list[Model], **changes: str) -> dict[str, str]:
    return {**TYPED, "left": str(models[0].id), "right": str(models[1].id), **changes}


def _ask(browser: TestClient, project: Project, models: list[Model], **changes: str) -> uuid.UUID:
    answer = browser.post(_address(project), data=_form(models, **changes))
    assert answer.status_code == 303, answer.text
    found = re.search(r"ask=([0-9a-f-]{36})#answers$", answer.headers["location"])
    assert found
    return uuid.UUID(found[1])


def _selected(page: str, name: str) -> str:
    """What a choice of the form stands on."""
    choice = page.split(f'<select name="{name}">')[1].split("</select>")[0]
    found = re.search(r" selected>([^<]*)<", choice)
    return found[1] if found else ""


def test_labelers_and_strangers_are_refused(
    client: TestClient, sign_in: SignIn, labeler: Person, project: Project, models: list[Model]
) -> None:
    ask_id = uuid.uuid4()
    calls = [("get", ""), ("post", ""), ("post", f"/{ask_id}/stop"), ("get", f"/{ask_id}/said")]
    for method, path in calls:
        assert getattr(client, method)(_address(project) + path).status_code in (303, 401)
    browser = sign_in(labeler)
    for method, path in calls:
        assert getattr(browser, method)(_address(project) + path).status_code == 403


def test_the_page_opens_on_the_newest_model_and_its_parent(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model]
) -> None:
    browser = sign_in(researcher)
    page = browser.get(_address(project)).text
    assert (_selected(page, "left"), _selected(page, "right")) == ("sft-1 (SFT)", "ppo-1 (policy)")
    assert "rm-1" not in page.split('name="judge"')[0], "a reward model writes nothing"
    page = browser.get(f"{_address(project)}?left={models[1].id}&temperature=0.3&judge={models[2].id}").text
    assert [_selected(page, name) for name in ("left", "right", "judge")] == ["ppo-1 (policy)", "", "rm-1"]
    assert 'value="0.3"' in page


def test_without_a_model_the_page_says_what_to_do(sign_in: SignIn, researcher: Person, project: Project) -> None:
    page = sign_in(researcher).get(_address(project)).text
    assert "No model can be asked yet" in page
    assert "<textarea" not in page


def test_an_address_of_a_deleted_model_is_said(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model]
) -> None:
    with writing() as session:
        session.execute(update(Model).where(Model.id == models[0].id).values(state=ModelState.deleted))
    for left in (models[0].id, uuid.uuid4(), "nonsense"):
        page = sign_in(researcher).get(f"{_address(project)}?left={left}&right={models[1].id}").text
        assert "that this address names can&#39;t be asked" in page
        assert (_selected(page, "left"), _selected(page, "right")) == ("", "ppo-1 (policy)")


def test_a_prompt_of_the_pool_comes_with_all_its_turns(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model]
) -> None:
    with writing() as session:
        prompt = make_prompt(session, project)
        prompt.messages = [
            {"role": "user", "content": "Hello <b>."},
            {"role": "assistant", "content": "Good day."},
            {"role": "user", "content": "A story?"},
        ]
        elsewhere = make_prompt(session, make_project(session))
    browser = sign_in(researcher)
    page = browser.get(f"{_address(project)}?prompt={prompt.id}").text
    assert "Hello &lt;b&gt;." in page
    assert page.count("<textarea") == 3
    assert browser.get(f"{_address(project)}?prompt={elsewhere.id}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_1": "  "}, "Turn 1: is empty"),
        ({"text_1": ""}, "Turn 1: Write something."),
        ({"left": "", "right": ""}, "Choose a model"),
        ({"left": "nonsense"}, "Left:"),
        ({"temperature": "-1"}, "Temperature:"),
        ({"temperature": "nan"}, "Temperature:"),
        ({"top_p": "0"}, "Top-p:"),
        ({"max_new_tokens": "5000"}, "New tokens:"),
        ({"seed": "1.5"}, "Seed:"),
        ({"role_1": "assistant"}, "the last turn must be the person&#39;s"),
        ({"role_1": "robot"}, "Turn 1:"),
        ({"role_2": "system", "text_2": "x", "role_3": "user", "text_3": "y"}, "only be the first turn"),
        ({"text_1": "x" * 40_001}, "more than 40,000 characters"),
    ],
)
def test_a_wrong_question_is_refused_in_words_and_kept_as_typed(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], changes: dict[str, str], words: str
) -> None:
    answer = sign_in(researcher).post(_address(project), data=_form(models, **changes))
    assert answer.status_code == 422
    assert words in answer.text
    assert changes.get("text_1", "Tell me of the sea.").strip() in answer.text
    assert 'value="0.9"' in answer.text or "top_p" in changes


def test_models_that_are_not_ready_or_of_another_project_are_refused(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    with writing() as session:
        foreign = make_model(session, make_project(session))
        session.execute(update(Model).where(Model.id == models[1].id).values(state=ModelState.deleted))
    browser = sign_in(researcher)
    for changes in ({}, {"right": str(foreign.id)}, {"right": str(models[2].id)}, {"judge": str(models[0].id)}):
        answer = browser.post(_address(project), data=_form(models, **changes))
        assert answer.status_code == 422
        assert "Choose another" in answer.text
        assert "Tell me of the sea." in answer.text


def test_without_a_worker_or_redis_it_says_so_and_loses_nothing(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], installation: Settings
) -> None:
    browser = sign_in(researcher)
    answer = browser.post(_address(project), data=_form(models))
    assert answer.status_code == 409
    assert "No worker is running" in answer.text
    assert "touchstone worker --queue playground" in answer.text
    assert "Tell me of the sea." in answer.text
    with writing() as session:
        workers.report(session, "box-1", device=Device("cpu"), run_id=None)
        workers.report(session, "importer", device=Device("imports"), run_id=None, queue=Queue.imports)
    answer = browser.post(_address(project), data=_form(models))
    assert answer.status_code == 503
    assert "The queue (Redis) does not answer" in answer.text
    assert "Tell me of the sea." in answer.text


def test_a_question_goes_to_the_line_and_its_page_to_its_person_alone(
    sign_in: SignIn, researcher: Person, admin: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    browser = sign_in(researcher)
    ask_id = _ask(browser, project, models, judge=str(models[2].id))
    assert line_up.llen("playground") == 1
    asked = line.find(line_up, ask_id)
    assert asked is not None
    question = asked.question
    assert (question.writers, question.judge) == ([models[0].id, models[1].id], models[2].id)
    assert (question.temperature, question.top_p, question.max_new_tokens) == (0.7, 0.9, 50)
    assert [turn.model_dump() for turn in question.messages] == [{"role": "user", "content": "Tell me of the sea."}]
    page = browser.get(f"{_address(project)}?ask={ask_id}").text
    assert 'data-live="true"' in page
    assert f"seed {question.seed}" in page
    assert "Tell me of the sea." in page
    assert "no longer kept" in sign_in(admin).get(f"{_address(project)}?ask={ask_id}").text
    assert sign_in(admin).get(f"{_address(project)}/{ask_id}/said").status_code == 404
    assert sign_in(admin).post(f"{_address(project)}/{ask_id}/stop").status_code == 404
    assert line.standing(line_up, ask_id) == "waiting"


def test_what_was_said_is_there_without_scripts(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    browser = sign_in(researcher)
    ask_id = _ask(browser, project, models)
    line.say(line_up, ask_id, {"kind": "state", "side": 0, "state": "writing", "words": ""},
             {"kind": "text", "side": 0, "text": "The <sea>", "anew": False},
             {"kind": "text", "side": 0, "text": " is wide.", "anew": False})  # fmt: skip
    page = browser.get(f"{_address(project)}?ask={ask_id}").text
    assert "The &lt;sea&gt; is wide." in page
    assert '<noscript><meta http-equiv="refresh" content="2; url=' in page
    line.finish(line_up, ask_id)
    page = browser.get(f"{_address(project)}?ask={ask_id}").text
    assert 'data-live="false"' in page
    assert "noscript" not in page
    going_on = browser.post(_address(project), data=_form(models, do="continue-0", asked=str(ask_id)))
    assert going_on.text.count("<textarea") == 3
    assert "The &lt;sea&gt; is wide." in going_on.text
    nothing = browser.post(_address(project), data=_form(models, do="continue-1", asked=str(ask_id)))
    assert nothing.status_code == 422
    assert "no answer on that side" in nothing.text


def test_without_scripts_too_a_page_says_what_it_waits_for_and_that_its_worker_died(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    browser = sign_in(researcher)
    ask_id = _ask(browser, project, models)
    page = browser.get(f"{_address(project)}?ask={ask_id}").text
    assert "A worker takes the question when it has ended what it is at." in page
    assert line.take(line_up, ask_id, worker="box-1")
    page = browser.get(f"{_address(project)}?ask={ask_id}").text
    assert 'data-live="true"' in page
    assert 'id="word" role="status" hidden' in page
    line_up.delete(line.key_of(ask_id, "alive"))  # as when it has expired
    page = browser.get(f"{_address(project)}?ask={ask_id}").text
    assert "gives no sign any more" in page
    assert 'data-live="false"' in page
    assert "noscript" not in page


def test_turns_come_and_go(sign_in: SignIn, researcher: Person, project: Project, models: list[Model]) -> None:
    browser = sign_in(researcher)
    page = browser.post(_address(project), data=_form(models, do="add")).text
    assert page.count("<textarea") == 2
    assert 'value="assistant" selected' in page
    page = browser.post(
        _address(project), data=_form(models, do="remove-1", role_2="assistant", text_2="Good day.")
    ).text
    assert page.count("<textarea") == 1
    assert "Good day." in page
    assert "Tell me of the sea." not in page


def test_stop_ends_what_nobody_has_taken_and_the_stream_says_so(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    browser = sign_in(researcher)
    ask_id = _ask(browser, project, models)
    line.say(line_up, ask_id, {"kind": "text", "side": 0, "text": "The sea", "anew": False})
    answer = browser.post(f"{_address(project)}/{ask_id}/stop")
    assert answer.status_code == 303
    assert answer.headers["location"].endswith(f"ask={ask_id}#answers")
    streamed = browser.get(f"{_address(project)}/{ask_id}/said")
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert '"text": "The sea"' in streamed.text
    assert "You stopped it." in streamed.text
    (place, _), (last, _) = line.said_so_far(line_up, ask_id)
    assert f"id: {last}" in streamed.text
    rest = browser.get(f"{_address(project)}/{ask_id}/said", headers={"Last-Event-ID": place}).text
    assert "The sea" not in rest
    assert "You stopped it." in rest


def test_another_question_stops_the_one_before(
    sign_in: SignIn, researcher: Person, project: Project, models: list[Model], line_up: redis.Redis
) -> None:
    browser = sign_in(researcher)
    first, second = _ask(browser, project, models), _ask(browser, project, models)
    assert "You asked another question meanwhile." in browser.get(f"{_address(project)}?ask={first}").text
    assert line.standing(line_up, second) == "waiting"


@pytest.fixture
def asked(researcher: Person, project: Project, models: list[Model], line_up: redis.Redis) -> Asked:
    question = Question.model_validate({"left": models[0].id, "messages": [{"role": "user", "content": "Hm?"}]})
    with writing() as session:
        return service.ask(session, project, researcher, question)


def _first_word(asked: Asked) -> dict[str, object]:
    async def first() -> dict[str, object]:
        return (await anext(listen(asked, after="0")))[1]

    return asyncio.run(first())


def test_a_question_says_what_it_waits_for(asked: Asked, project: Project) -> None:
    assert "has ended what it is at" in str(_first_word(asked)["words"])
    with writing() as session:
        run = make_run(session, project, kind=RunKind.sft, name="sft-2")
        claimed = runs.claim(session, run.id, worker="box-1")
        assert claimed is not None
        workers.report(session, "box-1", device=Device("cpu"), run_id=run.id)
    note = _first_word(asked)
    assert note["words"] == "The only worker is at work on the run sft-2."
    assert "touchstone worker --queue playground" in str(note["mend"])
    with writing() as session:
        other = make_run(session, make_project(session), kind=RunKind.sft, name="secret")
        workers.report(session, "box-2", device=Device("cpu"), run_id=other.id)
    assert _first_word(asked)["words"] == ("All 2 workers are at work on the run sft-2 and a run of another project.")
    with writing() as session:
        for name in ("box-1", "box-2"):
            workers.sign_off(session, name)
    assert "No worker is running" in str(_first_word(asked)["words"])


def test_a_redis_that_goes_away_ends_the_stream_in_words(asked: Asked, line_up: redis.Redis) -> None:
    end = threading.Thread(target=line_up.shutdown, kwargs={"nosave": True})

    async def words() -> list[dict[str, object]]:
        heard = []
        async for _, said in listen(asked, after="0"):
            heard.append(said)
            if said["kind"] == "note":
                end.start()
        return heard

    last = asyncio.run(words())[-1]
    end.join()  # it reads its connection's end, which the fixture closes
    assert (last["kind"], last["bad"]) == ("over", True)
    assert "The queue (Redis) does not answer" in str(last["words"])


def test_a_question_that_is_forgotten_ends_the_stream(asked: Asked, line_up: redis.Redis) -> None:
    line_up.flushall()
    last = _first_word(asked)
    assert (last["kind"], last["words"]) == ("over", "These answers are no longer kept. Ask again.")
