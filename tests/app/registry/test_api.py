"""Models by JSON."""

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from app.registry.models import ModelKind
from tests.conftest import SignIn
from tests.factories import make_model


def test_models_are_listed_and_looked_up(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        base = make_model(session, project, name="starter")
        reward = make_model(session, project, name="rm", kind=ModelKind.reward)
    client, address = sign_in(researcher), f"/api/v1/projects/{project.slug}/models"
    assert {each["name"] for each in client.get(address).json()["items"]} == {"starter", "rm"}
    assert [each["id"] for each in client.get(f"{address}?kind=reward").json()["items"]] == [str(reward.id)]
    assert client.get(f"{address}/{base.id}").json()["name"] == "starter"
    assert client.get(f"{address}/{project.id}").status_code == 404
    assert sign_in(labeler).get(address).status_code == 403
