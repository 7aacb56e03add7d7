"""Snapshots by JSON: the same as on the pages."""

from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking
from tests.conftest import SignIn


def test_a_script_freezes_lists_and_downloads(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        make_ranking(session, project, labeler, [1, 2, 2])
    client, address = sign_in(researcher), f"/api/v1/projects/{project.slug}/snapshots"
    frozen = client.post(address, json={"kind": "comparisons", "filter": {"purpose": "training"}}).json()
    assert (frozen["rows"], frozen["counts"]["pairs"]) == (1, 2)
    assert client.post(address, json={"kind": "comparisons"}).json()["id"] == frozen["id"]
    listed = client.get(address).json()
    assert listed == client.get(f"{address}?kind=comparisons").json() == {"items": [frozen], "next": None}
    assert client.get(f"{address}?kind=text").json()["items"] == []
    assert client.get(f"{address}/{frozen['id']}").json() == frozen
    lines = client.get(frozen["downloads"]["preference"] + "&file_type=jsonl").text.splitlines()
    assert len(lines) == 2


def test_what_cannot_be_frozen_is_a_problem_in_words(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    client, address = sign_in(researcher), f"/api/v1/projects/{project.slug}/snapshots"
    assert client.post(address, json={"kind": "prompts"}).status_code == 422
    wrong = client.post(address, json={"kind": "prompts", "filter": {"colour": "red"}})
    assert (wrong.status_code, "colour" in wrong.json()["fields"]) == (422, True)
    assert sign_in(labeler).get(address).status_code == 403
