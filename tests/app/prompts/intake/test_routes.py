import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import Person
from app.core.config import get_settings
from app.core.db import reading
from app.projects.models import Project
from app.prompts.models import ImportState, Prompt, PromptImport
from tests.app.prompts.intake.at_work import jsonl, take, work
from tests.conftest import SignIn


def imports() -> list[PromptImport]:
    with reading() as session:
        return list(session.scalars(select(PromptImport).order_by(PromptImport.created_at)))


def uploads() -> list[Path]:
    return [each for each in (get_settings().state_dir / "artefacts").rglob("*") if each.is_file()]


def test_every_page_is_an_admins(sign_in: SignIn, admin: Person, researcher: Person, project: Project) -> None:
    row = take(project, admin, jsonl({"prompt": "One"}))
    client, here = sign_in(researcher), f"/p/{project.slug}/prompts"
    for path in ("import", f"imports/{row.id}", f"imports/{row.id}/held/cap", f"imports/{row.id}/left-out.csv"):
        assert client.get(f"{here}/{path}").status_code == 403
    for path in ("import", f"imports/{row.id}", f"imports/{row.id}/stop", f"imports/{row.id}/held/cap/take-back"):
        assert client.post(f"{here}/{path}", data={"pasted": "x"}).status_code == 403
    client.cookies.clear()
    assert client.get(f"{here}/import").status_code == 303


def test_a_file_is_looked_at_started_and_reported(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts/import"
    file = ("my.jsonl", b'{"prompt": "A <b>dog</b>", "team": "Mill"}\n{oops\n', "application/jsonl")
    here = client.post(start, files={"file": file}).headers["location"]
    page = client.get(here).text
    assert "1 would be taken" in page
    assert "is not JSON" in page
    assert "A &lt;b&gt;dog" in page
    with reading() as session:
        assert session.scalars(select(Prompt)).all() == []
    again = client.post(here, data={"column_prompt": "prompt", "column_organisation": "team", "then": "look"})
    assert again.headers["location"] == here
    assert '<td class="soft">Mill</td>' in client.get(here).text
    assert client.post(here, data={"column_prompt": "prompt", "then": "start"}).status_code == 303
    assert "Waits for a worker" in client.get(here).text
    assert 'hx-trigger="every 1s"' in client.get(here, headers={"HX-Request": "true"}).text
    work(imports()[0].id)
    report = client.get(here).text
    assert '<b class="num">1</b> prompt is in use' in report
    assert "is not JSON" in report
    assert "hx-trigger" not in report
    assert json.loads(client.get(f"{here}/left-out.jsonl").text)["line"] == 2
    assert client.get(f"{here}/left-out.csv").text.splitlines()[0] == "line,verdict,reason,row"
    assert "my.jsonl" in client.get(start).text


def test_half_of_a_surrogate_pair_is_refused_and_shown(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts/import"
    content = jsonl({"prompt": "One \ud800", "\udfff": "x\ud800"}, {"prompt": "Two"})
    here = client.post(start, files={"file": ("a.jsonl", content)}).headers["location"]
    assert "can&#39;t be kept" in client.get(here).text
    assert client.post(here, data={"column_prompt": "prompt", "then": "start"}).status_code == 303
    assert work(imports()[0].id).counts == {"taken": 1, "refused": 1}
    assert "can&#39;t be kept" in client.get(here).text
    assert "\\ud800" in client.get(f"{here}/left-out.jsonl").text
    assert client.get(f"{here}/left-out.csv").status_code == 200


def test_settings_that_cannot_be_are_refused_and_stay_typed(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts/import"
    here = client.post(start, data={"pasted": "One"}).headers["location"]
    typed = {"column_prompt": "prompt", "near_alike": "0.3", "use_case_rules": "poems: rhyme", "then": "start"}
    answer = client.post(here, data=typed)
    assert answer.status_code == 422
    for words in ("near_alike: below 0.7", "no use case", 'value="0.3"', "poems: rhyme</textarea>"):
        assert words in answer.text
    assert imports()[0].state == ImportState.draft


def test_what_was_pasted_stays_when_it_is_refused(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts/import"
    answer = client.post(start, data={"pasted": '[{"prompt": "Mine"'})
    assert answer.status_code == 422
    assert "JSON list" in answer.text
    assert "Mine" in answer.text
    assert client.post(start, data={"pasted": " "}).status_code == 422
    assert imports() == []


def test_a_file_over_the_limit_is_refused(
    sign_in: SignIn, admin: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "prompt_file_mib", 1)
    file = ("big.txt", b"a line\n" * 200_000, "text/plain")
    answer = sign_in(admin).post(f"/p/{project.slug}/prompts/import", files={"file": file})
    assert answer.status_code == 422
    assert "larger than 1 MiB" in answer.text
    assert uploads() == []


def test_what_a_step_held_is_listed_and_taken_back(sign_in: SignIn, admin: Person, project: Project) -> None:
    rows = [{"prompt": f"Number {n}", "organisation": "Mill"} for n in range(3)]
    row = take(project, admin, jsonl(*rows), most_of_one=1)
    client, here = sign_in(admin), f"/p/{project.slug}/prompts/imports/{row.id}"
    assert "held: too many of one source" in client.get(here).text
    page = client.get(f"{here}/held/cap").text
    assert "Number 1" in page
    assert "more than 1 of its organisation" in page
    assert "3 in the pool" not in client.get(f"/p/{project.slug}/prompts").text
    assert client.post(f"{here}/held/cap/take-back").headers["location"] == here
    assert "3 in the pool" in client.get(f"/p/{project.slug}/prompts").text
    assert "Nothing is held" in client.get(f"{here}/held/cap").text
    assert client.post(f"{here}/held/arriving/take-back").status_code == 404


def test_buttons_that_come_too_late_say_so(sign_in: SignIn, admin: Person, project: Project) -> None:
    row = take(project, admin, jsonl({"prompt": "One"}))
    client, here = sign_in(admin), f"/p/{project.slug}/prompts/imports/{row.id}"
    for act in ("stop", "continue", "discard"):
        assert client.post(f"{here}/{act}").status_code == 409
    assert client.post(here, data={"then": "start"}).status_code == 409
    assert client.get(f"/p/{project.slug}/prompts/imports/{project.id}").status_code == 404


def test_what_is_discarded_takes_its_upload_with_it(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, start = sign_in(admin), f"/p/{project.slug}/prompts/import"
    by_button, by_script = (client.post(start, data={"pasted": text}).headers["location"] for text in ("One", "Two"))
    assert len(uploads()) == 2
    assert client.post(f"{by_button}/discard").headers["location"] == start
    assert len(uploads()) == 1
    script = f"/api/v1/projects/{project.slug}/prompt-imports/{by_script.rsplit('/', 1)[-1]}"
    assert client.post(f"{script}/discard").json()["state"] == "discarded"
    assert uploads() == []


def test_scripts_send_follow_and_read(sign_in: SignIn, admin: Person, project: Project, client: TestClient) -> None:
    start = f"/api/v1/projects/{project.slug}/prompt-imports"
    assert client.post(start, files={"file": ("a.txt", b"One")}).status_code == 401
    client = sign_in(admin)
    sent = client.post(start, files={"file": ("a.jsonl", jsonl({"q": "One"}, {"q": ""}))}).json()
    assert (sent["state"], sent["settings"]["columns"]) == ("draft", {})
    here = f"{start}/{sent['id']}"
    settings = {"columns": {"prompt": "q"}}
    assert client.post(f"{here}/start", json={"columns": {"poem": "q"}}).status_code == 422
    assert client.post(f"{here}/start", json=settings).json()["state"] == "queued"
    work(imports()[0].id)
    done = client.get(here).json()
    assert (done["state"], done["counts"], done["total"]) == ("done", {"taken": 1, "refused": 1}, 2)
    report = client.get(f"/p/{project.slug}/prompts/imports/{sent['id']}/left-out.jsonl")
    assert report.text.count("\n") == 1
    assert client.post(f"{here}/stop").status_code == 409
    assert [each["id"] for each in client.get(start).json()["items"]] == [sent["id"]]
    bad = client.post(start, files={"file": ("a.txt", b"One")}, data={"settings": '{"near_alike": 3}'})
    assert bad.status_code == 422
    at_once = {"settings": json.dumps({"columns": {"prompt": "prompt"}}), "start": "true"}
    assert client.post(start, files={"file": ("b.txt", b"Two")}, data=at_once).json()["state"] == "queued"
