"""Opening each kind of batch, its page, its reports and its known answers, through HTTP."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import AuditEvent, Group, Person
from app.core.clock import now
from app.core.db import reading, writing
from app.labeling import choices, service
from app.labeling.leases import lease_next
from app.labeling.models import (
    Batch,
    BatchKind,
    BatchState,
    Completion,
    Item,
    ItemCompletion,
    ItemPurpose,
    Report,
    ReportKind,
)
from app.labeling.schemas import Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from app.prompts.models import UseCase
from app.runs.configs import RunKind
from app.runs.models import Run
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_completion, make_model, make_person, make_project, make_prompt

SignIn = Callable[[Person], TestClient]


@pytest.fixture
def batch(project: Project) -> Batch:
    with writing() as session:
        return make_ranking_batch(session, project, items=3, completions=3)


@pytest.fixture
def sampled(project: Project) -> Run:
    """A sampling run: six prompts with five completions each, two of them from the help desk."""
    with writing() as session:
        run = Run(project_id=project.id, name="sample", kind=RunKind.sampling, config={})
        session.add(run)
        session.flush()
        model = make_model(session, project)
        for number in range(6):
            prompt = make_prompt(session, project)
            if number < 2:
                prompt.source, prompt.language, prompt.use_case = "help desk", "de", UseCase.chat
            for _ in range(5):
                make_completion(session, prompt, model=model).run_id = run.id
        session.flush()
        completions = choices.completions_of_run(session, project, run.id)
        service.create_ranking_batch(session, project, completions_by_prompt=completions, run_id=run.id)
        return run


def items(batch_id: uuid.UUID) -> list[Item]:
    with reading() as session:
        return list(session.scalars(select(Item).where(Item.batch_id == batch_id).order_by(Item.position)))


def made(answer: object) -> Batch:
    """The batch whose page a form led to."""
    assert answer.status_code == 303, answer.text
    with reading() as session:
        return session.get_one(Batch, uuid.UUID(answer.headers["location"].rsplit("/", 1)[1]))


def address(project: Project, batch: Batch) -> str:
    return f"/p/{project.slug}/labeling/batches/{batch.id}"


def test_k_filter_and_calibration_of_a_ranking_batch(
    sign_in: SignIn, admin: Person, project: Project, sampled: Run
) -> None:
    with writing() as session:
        for group in (Group.training, Group.training, Group.training, Group.held_out):
            make_person(session, project=project, group=group)
        make_person(session)  # of no project
    form = {"run_id": str(sampled.id), "completions": "4", "calibration_percent": "50", "overlap": "2"}
    batch = made(sign_in(admin).post(f"/p/{project.slug}/labeling/rankings", data=form))
    with reading() as session:
        shown = [session.query(ItemCompletion).filter_by(item_id=item.id).count() for item in items(batch.id)]
    assert shown == [4] * 6
    wanted = sorted((item.purpose, item.wanted) for item in items(batch.id))
    assert wanted == [(ItemPurpose.calibration, 3)] * 3 + [(ItemPurpose.ordinary, 2)] * 3


@pytest.mark.parametrize(
    "wanted", [{"source": "help desk"}, {"language": "de"}, {"use_cases": "chat"}, {"count": "2"}, {"search": "number"}]
)
def test_prompts_are_chosen_by_filter(
    sign_in: SignIn, admin: Person, project: Project, sampled: Run, wanted: dict[str, str]
) -> None:
    batch = made(sign_in(admin).post(f"/p/{project.slug}/labeling/rankings", data={"run_id": sampled.id, **wanted}))
    assert len(items(batch.id)) == (6 if "search" in wanted else 2)
    nothing = {"run_id": str(sampled.id), "search": "unicorn", "name": "As typed"}
    answer = sign_in(admin).post(f"/p/{project.slug}/labeling/rankings", data=nothing)
    assert (answer.status_code, 'value="As typed"' in answer.text) == (422, True)


def test_older_guidelines_can_be_chosen(sign_in: SignIn, admin: Person, project: Project, sampled: Run) -> None:
    client = sign_in(admin)
    client.post(f"/p/{project.slug}/guidelines/ranking", data={"text": "# Version two"})
    form = {"run_id": str(sampled.id), "guidelines_version": "1", "schema_version": "1"}
    batch = made(client.post(f"/p/{project.slug}/labeling/rankings", data=form))
    page = client.get(address(project, batch)).text
    assert f'Guidelines 1, <a href="/p/{project.slug}/rating-schemas/1">rating schema 1</a>' in page
    answer = client.post(f"/p/{project.slug}/labeling/rankings", data={**form, "guidelines_version": "9"})
    assert (answer.status_code, "no ranking guidelines 9" in answer.text) == (422, True)


def test_a_refused_batch_leaves_nothing_behind(sign_in: SignIn, admin: Person, project: Project, sampled: Run) -> None:
    form = {"run_id": str(sampled.id), "gold_percent": "30"}
    answer = sign_in(admin).post(f"/p/{project.slug}/labeling/rankings", data=form)
    assert answer.status_code == 422
    assert "3 items with a known answer are wanted, and there are 0" in answer.text
    with reading() as session:
        assert [each.run_id for each in session.scalars(select(Batch))] == [sampled.id], "the run's own"


def test_known_answers_are_given_and_asked_again(
    sign_in: SignIn, admin: Person, project: Project, batch: Batch, sampled: Run
) -> None:
    client, first = sign_in(admin), items(batch.id)[0]
    page = f"{address(project, batch)}/items/{first.id}"
    partly = {"purpose": "gold", "rank_A": "1", "rank_B": "1"}
    answer = client.post(page, data=partly)
    assert (answer.status_code, "rank C: Not ranked yet" in answer.text) == (422, True)
    whole = {**partly, "rank_C": "3", "flags_C": "hallucination", "feedback": "C makes it up."}
    assert client.post(page, data=whole).status_code == 303
    with reading() as session:
        item = session.get_one(Item, first.id)
        shown = session.scalars(
            select(ItemCompletion).where(ItemCompletion.item_id == item.id).order_by(ItemCompletion.position)
        )
        a, b, c = (str(each.completion_id) for each in shown)
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "item.answer")).one()
    assert item.purpose == ItemPurpose.gold
    assert item.gold == {
        "ranks": {a: 1, b: 1, c: 2},
        "flags": {a: [], b: [], c: ["hallucination"]},
        "feedback": "C makes it up.",
    }
    assert (event.person_id, event.details["purpose"]) == (admin.id, "gold")
    form = {"run_id": str(sampled.id), "gold_percent": "14", "overlap": "2"}
    again = made(client.post(f"/p/{project.slug}/labeling/rankings", data=form))
    golds = [item for item in items(again.id) if item.purpose == ItemPurpose.gold]
    assert [(gold.prompt_id, gold.gold, gold.wanted) for gold in golds] == [(item.prompt_id, item.gold, 2)]
    assert [item.position for item in items(again.id)] == list(range(7))


def test_a_lead_takes_their_own_ranking_as_the_answer(
    sign_in: SignIn, admin: Person, project: Project, batch: Batch
) -> None:
    with writing() as session:
        assignment = lease_next(session, admin, project)
        assert assignment is not None
        sent = Submission(ranks={"A": 2, "B": 1, "C": 2}, submission_key=str(uuid.uuid4()), note="B is best.")
        submit(session, admin, assignment.id, sent)
        best = assignment.shown_order[1]
        place = session.get_one(ItemCompletion, (assignment.item_id, uuid.UUID(best))).position
    page = f"{address(project, batch)}/items/{assignment.item_id}"
    client = sign_in(admin)
    assert "1 label<" in client.get(page).text
    assert f"<td>{admin.name}<br>" in client.get(page).text
    assert "Take your ranking as the answer" in client.get(page).text
    filled = client.get(page + "?own=true").text
    letter = "ABC"[place]
    others = "ABC".replace(letter, "")
    assert f"{letter} &gt; {others[0]} = {others[1]}" in filled, "under the letters of this page, not the labeler's"
    assert f'name="rank_{letter}" value="1" checked' in filled
    assert "B is best." in filled


def test_gold_needs_something_to_rank(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        batch = make_demonstration_batch(session, project)
    page = f"{address(project, batch)}/items/{items(batch.id)[0].id}"
    answer = sign_in(admin).post(page, data={"purpose": "gold"})
    assert (answer.status_code, "no known answer" in answer.text) == (422, True)
    assert sign_in(admin).post(page, data={"purpose": "calibration"}).status_code == 303


def test_nobody_grades_their_own_demonstration(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        authors = [make_person(session, project=project) for _ in range(2)]
        make_demonstration_batch(session, project, items=2)
        for author in authors:
            assignment = lease_next(session, author, project)
            assert assignment is not None
            submit(session, author, assignment.id, Submission(text=author.name, submission_key=str(uuid.uuid4())))
    client = sign_in(admin)
    with reading() as session:
        asked = session.scalars(select(Item).order_by(Item.position)).first()
    assert asked is not None
    page = client.get(f"/p/{project.slug}/labeling/batches/{asked.batch_id}/items/{asked.id}").text
    assert authors[0].name in page, "a lead reads what was written"
    batch = made(client.post(f"/p/{project.slug}/labeling/gradings", data={"count": "5"}))
    assert batch.kind == BatchKind.grading
    with writing() as session:
        for author, other in (authors, reversed(authors)):
            assignment = lease_next(session, author, project)
            assert assignment is not None
            text = session.get_one(Completion, uuid.UUID(assignment.shown_order[0])).text
            assert text == other.name
    answer = client.post(f"/p/{project.slug}/labeling/gradings", data={"count": "5"})
    assert answer.status_code == 422, "each demonstration is asked about once"


def test_the_page_tells_when_a_batch_will_be_done(
    sign_in: SignIn, admin: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        batch = make_demonstration_batch(session, project, items=10)
    client = sign_in(admin)
    assert "cannot be told yet" in client.get(address(project, batch)).text
    with writing() as session:
        for number in range(4):
            assignment = lease_next(session, labeler, project)
            assert assignment is not None
            submit(session, labeler, assignment.id, Submission(text="A story.", submission_key=str(uuid.uuid4())))
            assignment.submitted_at = now() - timedelta(days=number / 3 * 2)
    page = client.get(address(project, batch)).text
    assert "4 of 10" in page
    assert "at 2.0 a day" in page
    assert (now() + timedelta(days=3)).strftime("%-d %b %Y") in page


def test_priority_changes_and_is_refused_in_words(
    sign_in: SignIn, admin: Person, project: Project, batch: Batch
) -> None:
    client = sign_in(admin)
    assert client.post(address(project, batch) + "/priority", data={"priority": "7"}).status_code == 303
    for wrong in ("101", "soon", ""):
        answer = client.post(address(project, batch) + "/priority", data={"priority": wrong})
        assert (answer.status_code, f'value="{wrong}"' in answer.text) == (422, True)
    with reading() as session:
        assert session.get_one(Batch, batch.id).priority == 7


def test_a_stop_cord_is_shown_resolved_and_the_batch_reopened(
    sign_in: SignIn, admin: Person, labeler: Person, project: Project, batch: Batch
) -> None:
    with writing() as session:
        session.get_one(Batch, batch.id).state = BatchState.paused
        report = Report(project_id=project.id, batch_id=batch.id, person_id=labeler.id, kind=ReportKind.stop_cord,
                        reason="Every completion is empty")  # fmt: skip
        session.add(report)
    client = sign_in(admin)
    for page in (address(project, batch), f"/p/{project.slug}/labeling"):
        text = client.get(page).text
        assert labeler.name in text
        assert "Every completion is empty" in text
    resolve = f"{address(project, batch)}/reports/{report.id}"
    assert client.post(resolve, data={"resolution": " "}).status_code == 422
    done = client.post(resolve, data={"resolution": "Sampled again."})
    assert done.status_code == 303
    assert client.post(resolve, data={"resolution": "Twice."}).status_code == 409
    after = client.get(done.headers["location"].split("#")[0]).text
    assert "Reopen it" in after
    client.post(f"/p/{project.slug}/labeling/{batch.id}/state", data={"state": "open", "back": "batch"})
    with reading() as session:
        assert session.get_one(Batch, batch.id).state == BatchState.open
        assert session.get_one(Report, report.id).resolution == "Sampled again."


def test_who_may_see_and_change_a_batch(
    client: TestClient,
    sign_in: SignIn,
    researcher: Person,
    labeler: Person,
    admin: Person,
    project: Project,
    batch: Batch,
) -> None:
    page = address(project, batch)
    item = f"{page}/items/{items(batch.id)[0].id}"
    assert sign_in(labeler).get(page).status_code == 403
    assert sign_in(researcher).get(page).status_code == 200
    for what in (f"{page}/priority", f"{page}/reports/{uuid.uuid4()}", item):
        assert sign_in(researcher).post(what, data={}).status_code == 403
    assert sign_in(researcher).get(item).status_code == 403
    with writing() as session:
        other = make_project(session, name="Other")
    assert sign_in(admin).get(f"/p/{other.slug}/labeling/batches/{batch.id}").status_code == 404
    assert sign_in(admin).get(f"{page}/items/{uuid.uuid4()}").status_code == 404


@pytest.mark.parametrize("kind", ["demonstrations", "rankings", "gradings", "screenings"])
def test_only_admins_open_batches(sign_in: SignIn, researcher: Person, project: Project, kind: str) -> None:
    assert sign_in(researcher).post(f"/p/{project.slug}/labeling/{kind}", data={}).status_code == 403
