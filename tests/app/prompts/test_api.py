"""Prompts come in and go out as JSON."""

from fastapi.testclient import TestClient

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.conftest import SignIn
from tests.factories import make_prompt


def test_rows_are_taken_once_and_each_is_told_what_became_of_it(
    sign_in: SignIn, admin: Person, project: Project
) -> None:
    client, address = sign_in(admin), f"/api/v1/projects/{project.slug}/prompts"
    rows = [{"prompt": "Tell of a dog.", "organisation": "Acme", "split": "test"}, {"prompt": " "}, "odd"]
    sent = client.post(address, json={"rows": rows, "source": "script"}).json()
    assert sent["taken"] == 1
    assert [(row["number"], row["verdict"], row["split"]) for row in sent["rows"]] == [
        (1, "taken", "test"), (2, "refused", None), (3, "refused", None),
    ]  # fmt: skip
    assert "is not an object with named fields" in sent["rows"][2]["reason"]
    again = client.post(address, json={"rows": rows[:1]}).json()
    assert (again["taken"], again["rows"][0]["verdict"]) == (0, "duplicate")
    (item,) = client.get(address).json()["items"]
    assert (item["messages"], item["source"]) == ([{"role": "user", "content": "Tell of a dog."}], "script")


def test_pages_follow_one_another_without_a_gap(sign_in: SignIn, researcher: Person, project: Project) -> None:
    with writing() as session:
        made = [str(make_prompt(session, project, text=f"Prompt {number}").id) for number in range(7)]
    client, address, found = sign_in(researcher), f"/api/v1/projects/{project.slug}/prompts?limit=3", []
    page = client.get(address).json()
    while page["items"]:
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        page = client.get(f"{address}&after={page['next']}").json()
    assert found == sorted(made)  # ids follow time, those of one millisecond in any order
    assert [item["id"] for item in client.get(f"{address}&q=Prompt 4").json()["items"]] == [made[4]]


def test_who_may_not_is_told_so_as_a_problem(
    client: TestClient, sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    address = f"/api/v1/projects/{project.slug}/prompts"
    assert client.get(address).status_code == 401
    assert sign_in(labeler).get(address).status_code == 403
    client = sign_in(researcher)
    refused = client.post(address, json={"rows": [{"prompt": "x"}]})
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    assert client.get(f"{address}?limit=9999").status_code == 422
    assert client.get("/api/v1/projects/no-such/prompts").status_code == 404
