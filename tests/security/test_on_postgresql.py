"""On PostgreSQL, which refuses what SQLite lets pass: every address of a filled installation, and whatever is typed."""

import itertools

import pytest
from fastapi.testclient import TestClient

from app.projects.models import Project
from tests.app.test_access import WAYS
from tests.security.addresses import candidates, page_routes
from tests.security.test_form_fuzz import ODD, asking, test_no_address_breaks_whatever_is_asked_for
from tests.security.test_form_fuzz import test_no_form_breaks_whatever_is_typed as no_form_breaks

__all__ = ["asking", "test_no_address_breaks_whatever_is_asked_for"]
TRIED = 8  # of the addresses that a route may have


@pytest.fixture
def installation_url(postgres_url: str) -> str:
    return postgres_url


def test_every_address_answers(asking: TestClient, project: Project) -> None:
    broken, answered = [], set()
    for path in sorted(
        {way.path for way in WAYS if way.method == "GET" and not way.path.endswith("/said")}
    ):  # a worker says it
        for address in itertools.islice(candidates(path, project), TRIED):
            status = asking.get(address).status_code
            if status < 400:
                answered.add(path)
            elif status >= 500:
                broken.append(f"{status} {address}")
    assert broken == []
    assert set(page_routes()) - answered == set()


@pytest.mark.prove
def test_no_form_breaks_whatever_is_typed(asking: TestClient, project: Project) -> None:
    no_form_breaks(asking, project, ODD)
