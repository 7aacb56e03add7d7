import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person
from app.core.db import reading, writing
from app.projects.models import Project
from app.prompts.intake import report, service
from app.prompts.intake.review import Decision, Piece, decide, pieces
from app.prompts.models import HeldFor, Prompt, PromptImport
from tests.app.prompts.intake.at_work import jsonl, take
from tests.conftest import SignIn

ROWS = [
    {"prompt": text}
    for text in ("Mail ann@example.org.", "Mail ben@example.org.", "Mail [e-mail].", "Ring +44 20 7946 0958")
]


@pytest.fixture
def installation_url(database_url: str) -> str:
    """On both databases."""
    return database_url


@pytest.fixture
def held(project: Project, admin: Person) -> PromptImport:
    """Three prompts that are held for personal data, and one that is as the first two are when they are masked."""
    row = take(project, admin, jsonl(*ROWS), personal_data="review")
    assert row.counts == {"taken": 4, "held_personal_data": 3}
    return row


def prompts() -> dict[str, Prompt]:
    with reading() as session:
        return {prompt.messages[0]["content"]: prompt for prompt in session.scalars(select(Prompt))}


def counts(row: PromptImport) -> dict[str, int]:
    with reading() as session:
        return session.get_one(PromptImport, row.id).counts


def post(client: TestClient, here: str, prompt: Prompt, decision: str) -> int:
    return client.post(here, data={"prompt": str(prompt.id), "decision": decision}).status_code


def test_what_was_found_is_marked() -> None:
    assert pieces("Mail ann@example.org.") == [Piece("Mail "), Piece("ann@example.org", "e-mail"), Piece(".")]


def test_each_is_decided_about_once(sign_in: SignIn, admin: Person, project: Project, held: PromptImport) -> None:
    client, here = sign_in(admin), f"/p/{project.slug}/prompts/imports/{held.id}/review/personal_data"
    page = client.get(here).text
    assert '<mark title="e-mail">ann@example.org</mark>' in page
    assert "3 left" in page
    first, second, _, last = (prompts()[row["prompt"]] for row in ROWS)
    assert post(client, here, last, "mask") == 303
    assert prompts()["Ring [phone number]"].is_retired is False
    assert post(client, here, first, "use") == 303
    assert post(client, here, first, "retire") == 409  # it is decided
    assert prompts()["Mail ann@example.org."].is_retired is False
    assert post(client, here, second, "retire") == 303
    kept = prompts()["Mail ben@example.org."]
    assert (kept.is_retired, kept.held_for) == (True, None)
    reviewed = {"reviewed_mask": 1, "reviewed_use": 1, "reviewed_retire": 1}
    assert counts(held) == {"taken": 4, "held_personal_data": 3, **reviewed}
    with reading() as session:
        standing = report.standing(session, session.get_one(PromptImport, held.id))
        assert (standing.in_use, standing.withdrawn, standing.held[HeldFor.personal_data]) == (3, 1, 0)
        assert len(session.scalars(select(AuditEvent).where(AuditEvent.action == "prompt.review")).all()) == 3
    assert "Nothing is left to be decided about" in client.get(here).text


def test_decisions_made_at_once_are_all_counted(project: Project, admin: Person) -> None:
    row = take(
        project, admin, jsonl(*({"prompt": f"Mail a{n}@example.org."} for n in range(16))), personal_data="review"
    )

    def decide_on(prompt: Prompt) -> None:
        with writing() as session:
            seen = service.import_of_project(session, project, row.id)
            decide(session, seen, HeldFor.personal_data, prompt.id, Decision.use, by=admin)

    with ThreadPoolExecutor(4) as people:
        list(people.map(decide_on, prompts().values()))
    assert counts(row)["reviewed_use"] == 16


def test_what_would_be_a_duplicate_when_masked_is_not_masked(
    sign_in: SignIn, admin: Person, project: Project, held: PromptImport
) -> None:
    client, here = sign_in(admin), f"/p/{project.slug}/prompts/imports/{held.id}/review/personal_data"
    answer = client.post(here, data={"prompt": str(prompts()["Mail ann@example.org."].id), "decision": "mask"})
    assert answer.status_code == 409
    assert "the same as one that is here" in answer.text
    assert "3 left" in answer.text
    assert "reviewed_mask" not in counts(held)


def test_one_can_be_left_for_later(sign_in: SignIn, admin: Person, project: Project, held: PromptImport) -> None:
    client, here = sign_in(admin), f"/p/{project.slug}/prompts/imports/{held.id}/review/personal_data"
    found = prompts()
    page = client.get(f"{here}?after={found[ROWS[0]['prompt']].id}").text
    assert "ben@example.org" in page
    last = client.get(f"{here}?after={found[ROWS[3]['prompt']].id}").text
    assert "That was the last one." in last
    assert "Begin with those that you left" in last


def test_only_admins_review(sign_in: SignIn, researcher: Person, project: Project, held: PromptImport) -> None:
    client, here = sign_in(researcher), f"/p/{project.slug}/prompts/imports/{held.id}/review/personal_data"
    assert client.get(here).status_code == 403
    assert post(client, here, prompts()[ROWS[0]["prompt"]], "use") == 403
    client.cookies.clear()
    assert client.get(here).status_code == 303


def test_an_unknown_prompt_or_reason_is_refused(
    sign_in: SignIn, admin: Person, project: Project, held: PromptImport
) -> None:
    client, here = sign_in(admin), f"/p/{project.slug}/prompts/imports/{held.id}/review"
    data = {"prompt": str(uuid.uuid4()), "decision": "use"}
    assert client.post(f"{here}/personal_data", data=data).status_code == 409
    assert client.post(f"{here}/arriving", data=data).status_code == 404
    assert client.post(f"{here}/poems", data=data).status_code == 422
