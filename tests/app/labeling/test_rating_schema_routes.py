"""The pages of the rating schema: who sees and writes it, its buttons without scripts, and what a refusal keeps."""

import html
import re
import uuid

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person, Role
from app.core.db import reading, writing
from app.labeling import service as labeling
from app.labeling.leases import lease_next
from app.labeling.rating_schemas import paper_fields
from app.labeling.schemas import Submission
from app.labeling.submissions import submit
from app.projects import service as projects
from app.projects.models import Project, RatingSchema
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.conftest import SignIn
from tests.factories import make_person

FORM = {
    "based_on": "1",
    "likert_key": ["overall"],
    "likert_label": ["Overall quality"],
    "likert_low": ["of no use"],
    "likert_high": ["perfect"],
    "flags_key": ["fails_task", ""],
    "flags_label": ["Fails the task", "Is <b>rude</b>"],
    "flags_short": ["Fails", "Rude"],
    "flags_sensitive": ["1"],
}


def start(project: Project) -> str:
    return f"/p/{project.slug}/rating-schemas"


def versions() -> list[RatingSchema]:
    with reading() as session:
        return list(session.scalars(select(RatingSchema).order_by(RatingSchema.version)))


def values(page: str, name: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(rf'name="{name}" value="([^"]*)"', page)]


def test_leads_read_admins_write(
    sign_in: SignIn, client: TestClient, labeler: Person, outsider: Person, researcher: Person, project: Project
) -> None:
    reads, writes = ["", "/1"], ["/new"]
    assert client.get(start(project)).status_code == 303
    for person, may_read in ((labeler, 403), (outsider, 403), (researcher, 200)):
        signed_in = sign_in(person)
        assert {signed_in.get(start(project) + each).status_code for each in reads} == {may_read}
        assert {signed_in.get(start(project) + each).status_code for each in writes} == {403}
        for each in ("", "/edit"):
            assert signed_in.post(start(project) + each, data=FORM).status_code == 403
    page = sign_in(researcher).get(start(project)).text
    assert "Write a new version" not in page
    assert len(versions()) == 1


def test_a_researcher_of_another_project_finds_none(sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        stranger = make_person(session, role=Role.researcher)
    assert sign_in(stranger).get(start(project)).status_code == 404


def test_a_new_version_is_published_and_batches_keep_theirs(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        batch = make_ranking_batch(session, project, name="Under the first")
    client = sign_in(admin)
    form = client.get(f"{start(project)}/new").text
    assert values(form, "flags_label") == ["Fails the task", "Hallucination"]
    assert values(form, "based_on") == ["1"]
    answer = client.post(start(project), data=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{start(project)}/2")
    first, second = versions()
    assert batch.rating_schema_id == first.id
    assert second.fields == {
        "likert": [{"key": "overall", "label": "Overall quality", "low": "of no use", "high": "perfect"}],
        "flags": [
            {"key": "fails_task", "label": "Fails the task", "short": "Fails"},
            {"key": "rude", "label": "Is <b>rude</b>", "short": "Rude", "sensitive": True},
        ],
    }
    page = client.get(f"{start(project)}/2").text
    for words in ("What changed since version 1", "Gone: </span>Flag hallucination", "No batch goes by this version"):
        assert words in page
    assert "Is &lt;b&gt;rude" in page
    assert "<b>rude" not in page
    old = client.get(f"{start(project)}/1").text
    assert "Under the first" in old
    assert "version 2 is newer" in old
    assert "What changed since version 2" in client.get(f"{start(project)}/1?against=2").text
    assert client.get(f"{start(project)}/3").status_code == 404
    assert client.get(f"{start(project)}/1?against=9").status_code == 404
    with writing() as session:
        assert make_ranking_batch(session, project).rating_schema_id == second.id
        schema = labeling.batch_of(session, project, batch.id).rating_schema_id
        assert schema == first.id
        event = session.scalars(select(AuditEvent).where(AuditEvent.subject_id == second.id)).one()
    assert (event.action, event.person_id) == ("rating_schema.publish", admin.id)


def test_the_buttons_work_without_scripts_and_store_nothing(sign_in: SignIn, admin: Person, project: Project) -> None:
    client = sign_in(admin)

    def _press(button: str) -> str:
        answer = client.post(f"{start(project)}/edit", data={**FORM, "press": button})
        assert answer.status_code == 200
        return answer.text

    assert values(_press("flags-up-1"), "flags_label") == ["Is <b>rude</b>", "Fails the task"]
    assert re.search(r'name="flags_sensitive" value="0" checked', _press("flags-up-1"))
    assert values(_press("flags-remove-0"), "flags_label") == ["Is <b>rude</b>"]
    assert values(_press("flags-add-0"), "flags_label") == ["Fails the task", "Is <b>rude</b>", ""]
    assert values(_press("likert-remove-0"), "likert_label") == []
    assert "Flag rude: Is &lt;b&gt;rude" in _press("")
    assert len(versions()) == 1


def test_a_refused_version_stays_as_typed(sign_in: SignIn, admin: Person, project: Project) -> None:
    client = sign_in(admin)
    wrong = {**FORM, "flags_key": ["fails_task", "overall"], "flags_label": ["", "Is rude"]}
    refused = client.post(start(project), data=wrong)
    assert refused.status_code == 422
    for words in ("flag 1, label: Write some words.", "flag 2, key: There are two of"):
        assert words in html.unescape(refused.text)
    assert values(refused.text, "flags_key") == ["fails_task", "overall"]
    assert values(refused.text, "flags_short") == ["Fails", "Rude"]
    newest = client.get(f"{start(project)}/new").text
    same = {name: values(newest, name) for name in FORM if name != "flags_sensitive"}
    unchanged = client.post(start(project), data=same)
    assert (unchanged.status_code, "This is version 1 as it stands" in unchanged.text) == (422, True)
    assert client.post(start(project), data={}).status_code == 422
    assert len(versions()) == 1


ASKED = {
    **FORM,
    "likert_help": ["Would you send it?"],
    "flags_help": ["", "Look <i>closely</i>."],
    "flags_use_cases_1": ["extract", "closed_qa"],
    "notes": ["", "ranking"],
}


def test_help_texts_use_cases_and_notes_are_published_and_shown(
    sign_in: SignIn, admin: Person, labeler: Person, project: Project
) -> None:
    client = sign_in(admin)
    preview = html.unescape(client.post(f"{start(project)}/edit", data={**ASKED, "press": ""}).text)
    for words in ("only for closed qa, extract", "Help with flag rude: Look <i>closely</i>.", "Notes: on the whole"):
        assert words in preview
    assert client.post(start(project), data=ASKED).status_code == 303
    fields = versions()[1].fields
    assert fields["likert"][0]["help"] == "Would you send it?"
    assert fields["flags"][1]["use_cases"] == ["closed_qa", "extract"]
    assert fields["notes"] == ["ranking"]
    page = client.get(f"{start(project)}/2").text
    for words in ("only for closed qa, extract", "Look &lt;i&gt;closely", "Would you send it?", "none on a completion"):
        assert words in page
    again = client.get(f"{start(project)}/new").text
    ticked = re.findall(r'name="(flags_use_cases_\d|notes)" value="(\w+)" checked', again)
    assert ticked == [("flags_use_cases_1", "closed_qa"), ("flags_use_cases_1", "extract"), ("notes", "ranking")]
    unchanged = client.post(start(project), data={**ASKED, "based_on": "2", "flags_key": ["fails_task", "rude"]})
    assert (unchanged.status_code, "This is version 2 as it stands" in unchanged.text) == (422, True)
    told = sign_in(labeler).get(f"/p/{project.slug}/guidelines").text
    assert "only for closed qa, extract" in told
    assert "Would you send it?" in told


def test_a_refusal_keeps_help_texts_use_cases_and_notes(sign_in: SignIn, admin: Person, project: Project) -> None:
    wrong = {**ASKED, "flags_help": ["x" * 501, "Look <i>closely</i>."], "flags_use_cases_1": ["extract", "poetry"]}
    refused = sign_in(admin).post(start(project), data=wrong)
    assert refused.status_code == 422
    for words in ("flag 1, help: Use up to 500 characters.", "flag 2, use cases: Choose among the use cases"):
        assert words in html.unescape(refused.text)
    for kept in ("x" * 501, "Look &lt;i&gt;closely", "Would you send it?", 'value="extract" checked'):
        assert kept in refused.text
    assert re.findall(r'name="notes" value="(\w+)"( checked)?', refused.text) == [
        ("completion", ""),
        ("ranking", " checked"),
    ]
    assert len(versions()) == 1


def test_what_came_out_meanwhile_is_shown_first(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        projects.publish_rating_schema(session, project, {"flags": [{"key": "mine", "label": "Came meanwhile"}]})
    client = sign_in(admin)
    refused = client.post(start(project), data=FORM)
    assert refused.status_code == 409
    assert "Published meanwhile: version 2" in refused.text
    assert "Came meanwhile" in refused.text
    assert values(refused.text, "flags_label") == FORM["flags_label"]
    (based_on,) = values(refused.text, "based_on")
    assert client.post(start(project), data={**FORM, "based_on": based_on}).status_code == 303
    assert client.post(start(project), data={**FORM, "based_on": "nonsense"}).status_code == 409


def test_a_key_keeps_its_kind_through_versions(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        projects.publish_rating_schema(session, project, {"flags": [{"key": "dull", "label": "Dull"}]})
    as_scale = {"based_on": "2", "likert_key": ["hallucination"], "likert_label": ["How much of it is made up"]}
    refused = sign_in(admin).post(start(project), data=as_scale)
    assert refused.status_code == 422
    assert "was a flag in another version" in html.unescape(refused.text)


def test_an_empty_project_starts_from_the_papers_fields(sign_in: SignIn, admin: Person) -> None:
    with writing() as session:
        project = projects.create_project(session, "New", slug="new", by=admin)
    client = sign_in(admin)
    assert "No rating schema yet" in client.get(start(project)).text
    form = client.get(f"{start(project)}/new").text
    assert values(form, "flags_key") == [each["key"] for each in paper_fields()["flags"]]
    sent = {name: values(form, name) for name in FORM if name != "flags_sensitive"}
    assert client.post(start(project), data=sent).status_code == 303
    assert client.get(f"{start(project)}/1").status_code == 200


@pytest.mark.parametrize("page", ["settings", "guidelines", "labeling/new"])
def test_the_pages_around_lead_there(sign_in: SignIn, admin: Person, project: Project, page: str) -> None:
    with writing() as session:
        make_ranking_batch(session, project)
    assert f'href="{start(project)}"' in sign_in(admin).get(f"/p/{project.slug}/{page}").text


def test_a_new_version_can_begin_with_an_old_one(sign_in: SignIn, admin: Person, project: Project) -> None:
    with writing() as session:
        projects.publish_rating_schema(session, project, {"flags": [{"key": "dull", "label": "Dull"}]})
    form = sign_in(admin).get(f"{start(project)}/new?start=1").text
    assert values(form, "flags_label") == ["Fails the task", "Hallucination"]
    assert values(form, "based_on") == ["2"]


def test_nothing_is_graded_without_a_scale(sign_in: SignIn, admin: Person, labeler: Person, project: Project) -> None:
    with writing() as session:
        make_demonstration_batch(session, project)
        assignment = lease_next(session, session.get_one(Person, labeler.id), project)
        assert assignment is not None
        submit(session, labeler, assignment.id, Submission(text="A story.", submission_key=str(uuid.uuid4())))
        projects.publish_rating_schema(session, project, {"flags": [{"key": "dull", "label": "Dull"}]})
    client, asked = sign_in(admin), {"count": "1", "split": ""}
    refused = client.post(f"/p/{project.slug}/labeling/gradings", data=asked)
    assert (refused.status_code, "There is no scale to grade by" in refused.text) == (422, True)
    assert client.post(f"/p/{project.slug}/labeling/gradings", data={**asked, "schema_version": "1"}).status_code == 303
