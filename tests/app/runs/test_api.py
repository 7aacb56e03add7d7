"""Runs by JSON: started once, followed, stopped and continued, within one's own projects."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.accounts.models import Person
from app.core.db import reading, writing
from app.projects.models import Project
from app.registry.models import Model
from app.runs import service
from app.runs.models import Run, RunState
from tests.app.runs.rows import make_run, make_running, make_starter
from tests.conftest import SignIn
from tests.factories import make_project


@pytest.fixture
def base(project: Project, admin: Person) -> Model:
    with writing() as session:
        return make_starter(session, project, admin)


def start(client: TestClient, project: Project, **body: object) -> dict[str, object]:
    answer = client.post(f"/api/v1/projects/{project.slug}/runs", json={"kind": "sft", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_a_script_leaves_out_is_what_the_page_starts_with(
    sign_in: SignIn, admin: Person, project: Project, base: Model
) -> None:
    run = start(sign_in(admin), project, config={"epochs": 3})
    assert (run["name"], run["state"], run["config"]["epochs"]) == ("sft-round-1", "queued", 3)
    inputs = {each["part"]: each for each in run["inputs"]}
    assert inputs["base"]["model_id"] == str(base.id)
    assert inputs["demonstrations"]["snapshot_id"]


def test_a_request_sent_again_starts_no_second_run(
    sign_in: SignIn, admin: Person, project: Project, base: Model
) -> None:
    client = sign_in(admin)
    first, again = (start(client, project, key="night-of-the-4th") for _ in range(2))
    assert first["id"] == again["id"]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 1
    assert start(client, project, key="night-of-the-5th")["id"] != first["id"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"config": {"epochs": -1}}, "epochs"),
        ({"config": {"colour": "red"}}, "colour"),
        ({"parts": {"teacher": "new"}}, "parts.teacher"),
        ({"parts": {"base": "nothing"}}, "base"),
        ({"key": "short"}, "key"),
    ],
)
def test_what_is_wrong_is_named(
    sign_in: SignIn, admin: Person, project: Project, base: Model, body: dict[str, object], wrong: str
) -> None:
    answer = sign_in(admin).post(f"/api/v1/projects/{project.slug}/runs", json={"kind": "sft", **body})
    assert (answer.status_code, wrong in answer.json()["fields"]) == (422, True), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_runs_are_listed_in_pages_the_newest_first(sign_in: SignIn, researcher: Person, project: Project) -> None:
    with writing() as session:
        runs = [make_run(session, project) for _ in range(3)]
        other = make_run(session, make_project(session))
        service.log(session, runs[0].id, "It began.")
    client, address = sign_in(researcher), f"/api/v1/projects/{project.slug}/runs"
    expected, cursor, got = {str(run.id) for run in runs}, "", []
    while cursor is not None:
        page = client.get(f"{address}?limit=1" + (f"&after={cursor}" if cursor else "")).json()
        got, cursor = [*got, *(run["id"] for run in page["items"])], page["next"]
    assert (set(got), len(got)) == (expected, 3)
    assert got == sorted(got, reverse=True)
    assert len(client.get(f"{address}?state=queued&kind=sft").json()["items"]) == 3
    assert client.get(f"{address}?state=failed").json() == {"items": [], "next": None}
    lines = client.get(f"/api/v1/runs/{runs[0].id}/log").json()["items"]
    assert lines[-1]["text"] == "It began."
    assert client.get(f"/api/v1/runs/{other.id}").status_code == 404  # of a project that is not theirs


def test_a_run_is_stopped_and_continued(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        run_id = make_run(session, project).id
    client = sign_in(admin)
    assert client.post(f"/api/v1/runs/{run_id}/stop").json()["state"] == RunState.cancelled
    assert client.post(f"/api/v1/runs/{run_id}/stop").status_code == 409
    assert client.post(f"/api/v1/runs/{run_id}/continue").json()["state"] == RunState.queued


def test_researchers_follow_runs_and_start_none(sign_in: SignIn, researcher: Person, project: Project) -> None:
    with writing() as session:
        run_id = make_running(session, project).id
    client = sign_in(researcher)
    assert client.get(f"/api/v1/runs/{run_id}").json()["state"] == "running"
    assert client.post(f"/api/v1/projects/{project.slug}/runs", json={"kind": "sft"}).status_code == 403
    assert client.post(f"/api/v1/runs/{run_id}/stop").status_code == 403


def test_an_answer_that_has_not_changed_is_not_sent_again(
    sign_in: SignIn, researcher: Person, project: Project
) -> None:
    with writing() as session:
        run_id = make_run(session, project).id
    client, address = sign_in(researcher), f"/api/v1/runs/{run_id}"
    etag = client.get(address).headers["etag"]
    same = client.get(address, headers={"If-None-Match": etag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    with writing() as session:
        session.get_one(Run, run_id).step = 7
    assert client.get(address, headers={"If-None-Match": etag}).json()["step"] == 7
