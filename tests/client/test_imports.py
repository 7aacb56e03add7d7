"""What a script does with imports of prompts: send a file, follow it to its end, see what it left out, take it back."""

import uuid
from pathlib import Path

import httpx
import pytest
from touchstone import ApiError, ImportFailed, Unreachable

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.prompts.intake import service
from app.prompts.models import PromptImport
from tests.app.prompts.intake.at_work import jsonl, work
from tests.client.conftest import Connect
from tests.client.test_client import Faults

CSV = "question,team\nTell me of the sea.,a\nTell me of the sea.,a\n,a\n" + "".join(
    f"Question number {number}?,b\n" for number in range(6)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.csv"
    path.write_text(CSV)
    return path


def test_a_file_is_sent_followed_and_reported(connect: Connect, admin: Person, project: Project, file: Path) -> None:
    mine = connect(admin).project(project.slug)
    columns = {"prompt": "question", "organisation": "team"}
    sent = mine.import_prompts(file, columns=columns, most_of_one=4)
    assert (sent.name, sent.format, sent.state, sent.is_at_work) == ("prompts.csv", "csv", "queued", True)
    assert (sent.settings["columns"], sent.settings["most_of_one"]) == (columns, 4)
    assert sent.settings["prefix_characters"] == 200, "what is not named stays as the server chose"
    follows = sent.follow(every=0)
    assert next(follows).state == "queued"
    work(uuid.UUID(sent.id))
    (done,) = follows
    assert (done.state, done.counts["taken"], done.counts["duplicate"], done.counts["refused"]) == ("done", 7, 1, 1)
    assert done.finished_at is not None
    assert done.counts["held_cap"] == 2
    assert [(row["line"], row["verdict"]) for row in done.left_out()] == [(3, "duplicate"), (4, "refused")]
    assert [each.id for each in mine.prompt_imports()] == [mine.prompt_import(sent.id).id]
    assert done.wait(every=0).state == "done"
    assert len(list(mine.prompts())) == 5
    assert done.take_back("cap").counts["taken_back_cap"] == 2
    assert len(list(mine.prompts())) == 7


def test_a_draft_shows_what_the_server_guessed(connect: Connect, admin: Person, project: Project, file: Path) -> None:
    mine = connect(admin).project(project.slug)
    draft = mine.upload_prompts(file)
    assert (draft.state, draft.settings["columns"]["prompt"]) == ("draft", "question")
    with pytest.raises(ApiError, match="least_characters") as refused:
        draft.start(least_characters=-1)
    assert refused.value.status == 422
    assert draft.refreshed().state == "draft"
    assert draft.start().state == "queued"
    with pytest.raises(ApiError, match="This import is queued"):
        draft.start()


def test_it_is_stopped_gone_on_with_and_discarded(
    connect: Connect, admin: Person, project: Project, file: Path
) -> None:
    mine = connect(admin).project(project.slug)
    sent = mine.import_prompts(file)
    assert sent.stop().state == "stopped"
    with pytest.raises(ImportFailed, match="is stopped"):
        sent.wait(every=0)
    assert sent.resume().state == "queued"
    sent.stop()
    assert sent.discard().state == "discarded"
    assert list(mine.prompt_imports()) == list(mine.prompts()) == []


def test_one_that_fails_says_why(connect: Connect, admin: Person, project: Project, tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_bytes(jsonl(*({"prompt": f"Question {number}?"} for number in range(50))))
    sent = connect(admin).project(project.slug).import_prompts(path)
    with writing() as session:
        claimed = service.claim(session, uuid.UUID(sent.id), worker="box-1")
        assert claimed is not None
        service.fail(session, claimed.id, claim=str(claimed.claimed_by), reason="The file breaks off in line 31.")
    with pytest.raises(ImportFailed, match=r"is failed\. The file breaks off in line 31\."):
        sent.wait(every=0)


def test_a_dataset_of_the_hub_is_asked_for(connect: Connect, admin: Person, project: Project) -> None:
    mine = connect(admin).project(project.slug)
    sent = mine.fetch_prompts("owner/prompts", split="test", rows=100)
    assert (sent.name, sent.stage, sent.state) == ("owner/prompts", "fetch", "queued")
    with writing() as session:
        assert session.get_one(PromptImport, uuid.UUID(sent.id)).hub["rows"] == 100
    with pytest.raises(ApiError, match="dataset"):
        mine.fetch_prompts("../secrets")


def test_a_file_whose_answer_was_lost_is_not_sent_again_by_itself(
    connect: Connect, admin: Person, project: Project, file: Path
) -> None:
    faults = Faults()
    mine = connect(admin, faults=faults).project(project.slug)
    faults.first.append(httpx.ReadError("gone"))
    with pytest.raises(Unreachable, match="gone"):
        mine.import_prompts(file)
    assert [each.state for each in mine.prompt_imports()] == ["draft"], "it is there, and was not started"


def test_only_admins_bring_prompts_in(connect: Connect, researcher: Person, project: Project, file: Path) -> None:
    with pytest.raises(ApiError, match="403"):
        connect(researcher).project(project.slug).import_prompts(file)
