"""The registry's pages: who may add a model, from where, and what a refusal says."""

import uuid

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.accounts.models import AuditEvent, Person
from app.core.db import reading, writing
from app.projects.models import Project
from app.registry import service
from app.registry.models import Model, ModelKind, ModelState
from tests.conftest import SignIn
from tests.factories import make_model, make_project


def _models() -> list[Model]:
    with reading() as session:
        return list(session.scalars(select(Model)))


def test_adding_asks_who_is_there(client: TestClient, project: Project) -> None:
    assert client.post(f"/p/{project.slug}/models", data={"source": "starter"}).status_code == 401
    assert _models() == []


def test_only_admins_add(researcher: Person, labeler: Person, sign_in: SignIn, project: Project) -> None:
    for person in (researcher, labeler):
        browser = sign_in(person)
        assert browser.post(f"/p/{project.slug}/models", data={"source": "starter"}).status_code == 403
    assert browser.get(f"/p/{project.slug}/models").status_code == 403
    assert _models() == []


@pytest.mark.parametrize(
    ("source", "name", "called"),
    [("starter", "", "starter"), ("hub:owner/tiny-model", "", "tiny-model"), ("smollm2", "small", "small")],
)
def test_an_admin_adds_a_base(
    admin: Person, sign_in: SignIn, project: Project, source: str, name: str, called: str
) -> None:
    browser = sign_in(admin)
    answer = browser.post(f"/p/{project.slug}/models", data={"source": source, "name": name})
    assert answer.status_code == 303
    (model,) = _models()
    assert (model.name, model.source, model.state, model.kind) == (called, source, ModelState.adding, ModelKind.base)
    page = browser.get(f"/p/{project.slug}/models").text
    assert "Adding" in page
    assert 'hx-trigger="every 3s"' in page
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.action == "model.add")) == 1


@pytest.mark.parametrize("source", ["/etc", "../secrets", "hub:nobody", "hub:a/b/c", "hub:../x", "http://x/y", ""])
def test_a_wrong_source_is_refused_and_kept_as_typed(
    admin: Person, sign_in: SignIn, project: Project, source: str
) -> None:
    answer = sign_in(admin).post(f"/p/{project.slug}/models", data={"source": source, "name": "mine"})
    assert answer.status_code == 422
    assert 'value="mine"' in answer.text
    assert _models() == []


def test_a_taken_name_is_refused(admin: Person, sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        make_model(session, project, name="starter")
    answer = sign_in(admin).post(f"/p/{project.slug}/models", data={"source": "starter"})
    assert answer.status_code == 409
    assert "Choose another name" in answer.text
    assert len(_models()) == 1


def test_a_refused_model_says_why_and_can_be_tried_again(admin: Person, sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        model = service.add_base(session, project, "bert", source="hub:x/bert", by=None)
        assert service.mark_refused(session, model.id, "bert is a BertModel, not a causal language model.")
    browser = sign_in(admin)
    assert "not a causal language model" in browser.get(f"/p/{project.slug}/models").text
    assert "not a causal language model" in browser.get(f"/p/{project.slug}/models/{model.id}").text
    assert browser.post(f"/p/{project.slug}/models/{model.id}/try-again").status_code == 303
    assert _models()[0].state == ModelState.adding
    assert browser.post(f"/p/{project.slug}/models/{model.id}/try-again").status_code == 409
    assert browser.post(f"/p/{project.slug}/models/{uuid.uuid4()}/try-again").status_code == 404


def test_a_refused_name_may_be_used_again(project: Project) -> None:
    with writing() as session:
        first = service.add_base(session, project, "own", source="/a", by=None)
        service.mark_refused(session, first.id, "no weights")
    with writing() as session:
        again = service.add_base(session, project, "own", source="/b", by=None)
    assert (again.id, again.source, again.state, again.error) == (first.id, "/b", ModelState.adding, None)


def test_a_model_is_settled_once(project: Project) -> None:
    with writing() as session:
        model = service.add_base(session, project, "own", source="/a", by=None)
        assert service.mark_ready(session, model.id, storage_key="models/x", parameters=10, context=128)
        assert not service.mark_refused(session, model.id, "too late")
    assert _models()[0].state == ModelState.ready


def test_lineage_is_followed_to_the_base(project: Project) -> None:
    with writing() as session:
        base = make_model(session, project)
        sft = make_model(session, project, kind=ModelKind.sft)
        policy = make_model(session, project, kind=ModelKind.policy)
        sft.parent_id, policy.parent_id = base.id, sft.id
        session.flush()
        assert service.ancestors(session, policy) == [sft, base]
        assert service.descendants(session, base) == [sft]


def test_another_projects_model_is_not_found(admin: Person, sign_in: SignIn, project: Project) -> None:
    with writing() as session:
        foreign = make_model(session, make_project(session))
    assert sign_in(admin).get(f"/p/{project.slug}/models/{foreign.id}").status_code == 404
