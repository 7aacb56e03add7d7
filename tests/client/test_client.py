"""What a script does with projects, prompts, snapshots, models and runs."""

import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from touchstone import ApiError, Client, Prompt, Unreachable

from app.accounts.models import Person
from app.core.db import writing
from app.core.storage import get_artefacts
from app.projects.models import Project
from app.runs import service
from tests.app.evals.benchmark_rows import make_measurement, make_result
from tests.app.runs.rows import make_running, make_starter
from tests.client.conftest import Connect
from tests.factories import make_model

CLIENT = Path(__file__).parent.parent.parent / "client"


def test_prompts_go_in_once_and_come_out(connect: Connect, admin: Person, project: Project) -> None:
    pool = connect(admin).project(project.slug)
    rows = [f"Write about subject number {n}." for n in range(501)]
    report = pool.add_prompts([*rows, {"prompt": "Hello.", "split": "test"}, {"colour": "red"}], source="ideas")
    assert (report.taken, [row["number"] for row in report.refused]) == (502, [503])
    assert pool.add_prompts(rows[:2]).taken == 0
    prompts = list(pool.prompts())
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 502  # more than a page
    found = next(pool.prompts(split="test", search="Hello"))
    assert isinstance(found, Prompt)
    assert (found.source, found.created_at.date()) == ("ideas", datetime.now(UTC).date())


def test_models_and_projects_are_records(connect: Connect, researcher: Person, project: Project) -> None:
    with writing() as session:
        model = make_model(session, project, name="starter")
    client = connect(researcher)
    assert client.me()["role"] == "researcher"
    assert [each.slug for each in client.projects()] == [project.slug]
    assert [each.id for each in client.project(project.slug).models(kind="base")] == [str(model.id)]


def test_a_model_is_downloaded_with_its_card(
    connect: Connect, researcher: Person, project: Project, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "config.json").write_text("{}")
    get_artefacts().put_folder("models/one", made)
    with writing() as session:
        make_model(session, project, name="starter").storage_key = "models/one"
    mine = connect(researcher).project(project.slug)
    model = next(mine.models())
    with tarfile.open(mine.download_model(model, tmp_path / "starter.tar")) as packed:
        assert set(packed.getnames()) == {"starter/config.json", "starter/README.md"}
    assert mine.model_card(model).startswith("---\nlibrary_name: transformers")


def test_benchmarks_are_given_data_and_read_with_their_items(
    connect: Connect, admin: Person, project: Project, tmp_path: Path
) -> None:
    mine = connect(admin).project(project.slug)
    data = tmp_path / "sst.jsonl"
    data.write_text('{"sentence": "fine", "label": 1}\n')
    sent = mine.add_benchmark_file("sst", data)
    assert (sent.rows, sent.is_in_use, [each.id for each in mine.benchmark_files()]) == (1, True, [sent.id])
    with writing() as session:
        model = make_model(session, project)
        make_result(session, make_measurement(session, project, model), model, "sst", [1.0, 0.0])
    found = next(mine.benchmark_results(model=str(model.id), benchmark="sst"))
    assert (found.value, found.n, found.code_version) == (0.5, 2, "abc1234")
    items = mine.download_items(found, tmp_path / "items.jsonl")
    assert len(items.read_text().splitlines()) == 2


def test_a_run_is_started_followed_and_waited_for(connect: Connect, admin: Person, project: Project) -> None:
    with writing() as session:
        make_starter(session, project, admin)
    mine = connect(admin).project(project.slug)
    run = mine.start_run("sft", parts={"base": next(mine.models())}, epochs=2)
    assert (run.state, run.config["epochs"], run.is_over) == ("queued", 2, False)
    assert run.stop().state == "cancelled"
    assert run.resume().state == "queued"
    assert (run.priority, run.device, run.waits) == ("normal", "any", "No worker is running.")
    assert run.prioritize("high").priority == "high"
    assert mine.start_run("sft", priority="low", device="gpu").ahead == 1
    assert mine.run(run.id).id in [each.id for each in mine.runs(kind="sft", state="queued")]


def test_each_step_comes_once_until_the_run_is_over(connect: Connect, researcher: Person, project: Project) -> None:
    with writing() as session:
        row = make_running(session, project)
    run = connect(researcher).project(project.slug).run(str(row.id))
    follows = run.follow(every=0)
    for number in (1, 2):
        with writing() as session:
            service.record_step(
                session, row.id, claim=row.claimed_by or "", step=number, total=2, metrics={"loss": 1 / number}
            )
        step = next(follows)
        assert (step.step, step.values["loss"]) == (number, 1 / number)
    with writing() as session:
        service.finish(session, row.id, claim=row.claimed_by or "", result={"loss": 0.5})
    assert list(follows) == []
    assert run.wait(every=0).result == {"loss": 0.5}
    assert "Finished." in list(run.log())


def test_errors_say_what_is_wrong(connect: Connect, admin: Person, project: Project) -> None:
    mine = connect(admin).project(project.slug)
    with pytest.raises(ApiError, match="colour") as refused:
        mine.freeze("prompts", colour="red")
    assert (refused.value.status, "colour" in refused.value.fields) == (422, True)
    address = str(mine.connection.http.base_url)
    with Client(address, "touchstone_wrong") as stranger, pytest.raises(ApiError, match=r"401.*Make a new one"):
        stranger.me()
    with pytest.raises(ApiError, match="404"):
        connect(admin).project("elsewhere")


def test_no_server_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOUCHSTONE_URL", "TOUCHSTONE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="TOUCHSTONE_URL and TOUCHSTONE_TOKEN"):
        Client()
    with pytest.raises(ValueError, match="no server's address"):
        Client("touchstone.example.org", "touchstone_x")


class Faults(httpx.HTTPTransport):
    """A network that loses the first answers, or gives others in their place."""

    def __init__(self, *first: httpx.Response | httpx.TransportError) -> None:
        super().__init__()
        self.first, self.asked = list(first), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = super().handle_request(request)
        if not self.first:
            return answer
        answer.read()
        answer.close()
        fault = self.first.pop(0)
        if isinstance(fault, httpx.TransportError):
            raise fault
        return fault


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a client would have waited."""
    waited: list[float] = []
    monkeypatch.setattr("touchstone.connection.time.sleep", waited.append)
    return waited


def test_what_is_lost_or_put_off_is_asked_again(
    connect: Connect, admin: Person, project: Project, hasty: list[float]
) -> None:
    faults = Faults(httpx.Response(429, headers={"Retry-After": "7"}), httpx.ReadError("gone"), httpx.Response(503))
    assert connect(admin, faults=faults).me()["role"] == "admin"
    assert (faults.asked, hasty[0]) == (4, 7.0)


def test_a_run_whose_answer_was_lost_is_started_once(
    connect: Connect, admin: Person, project: Project, hasty: list[float]
) -> None:
    with writing() as session:
        make_starter(session, project, admin)
    faults = Faults()
    mine = connect(admin, faults=faults).project(project.slug)
    faults.first.append(httpx.ReadError("gone"))  # the server did what it was asked
    run = mine.start_run("sft")
    assert [each.id for each in mine.runs()] == [run.id]


def test_a_server_that_never_answers_is_given_up(connect: Connect, admin: Person, hasty: list[float]) -> None:
    faults = Faults(*(httpx.ConnectError("refused") for _ in range(9)))
    with pytest.raises(Unreachable, match="refused"):
        connect(admin, faults=faults).me()
    assert faults.asked == 5


def test_it_needs_httpx_and_nothing_of_the_server() -> None:
    seen = "import sys, touchstone; print(*sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv)))"
    names = ["app", "workers", "pydantic", "fastapi", "sqlalchemy", "torch", "datasets", "pandas", "httpx"]
    argv = [sys.executable, "-c", seen, *names]
    found = subprocess.run(
        argv, cwd=CLIENT, env={"PYTHONPATH": str(CLIENT)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["httpx"]
