"""On PostgreSQL, which refuses what SQLite lets pass: every address of a filled installation, and whatever is typed."""

import pytest
from fastapi.testclient import TestClient

from app.projects.models import Project
from tests.app.test_access import WAYS
from tests.security.addresses import candidates, page_routes
from tests.security.test_form_fuzz import ODD, asking, test_no_address_breaks_whatever_is_asked_for
from tests.security.test_form_fuzz import test_no_form_breaks_whatever_is_typed as no_form_breaks

__all__ = ["asking", "test_no_address_breaks_whatever_is_asked_for"]
TRIED = 8  # of the addresses that a route may have, and more until one answers


@pytest.fixture
def installation_url(postgres_url: str) -> str:
    return postgres_url


def test_every_address_answers(asking: TestClient, project: Project) -> None:
    broken, answered = [], set()
    for path in sorted({way.path for way in WAYS if way.method == "GET"}):
        if path.endswith("/said"):
            continue  # a worker says it
        for number, address in enumerate(candidates(path, project)):
            if number >= TRIED and path in answered:
                break
            status = asking.get(address).status_code
            if status < 400:
                answered.add(path)
            elif status >= 500:
                broken.append(f"{status} {address}")
    assert broken == []
    assert set(page_routes()) - answered == {"/p/{slug}/assignments/{assignment_id}/amend"}  # the labeler's own


@pytest.mark.prove
def test_no_form_breaks_whatever_is_typed(asking: TestClient, project: Project) -> None:
    no_form_breaks(asking, project, ODD)
