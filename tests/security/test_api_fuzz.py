"""Whatever scripts send to the API, as its description allows or against it: no answer is a mistake of ours."""

import json
import warnings
from typing import Any

import hypothesis
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.accounts.models import Person, Role
from app.main import create_app
from app.projects.models import Project
from tests.conftest import SignIn
from tests.security.addresses import candidates
from tests.security.hostile import fill

with warnings.catch_warnings():  # its own, of what it imports
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.generation import GenerationMode
    from schemathesis.generation.case import Case

Operation = Any  # schemathesis's APIOperation
EACH, EACH_OF_MANY = 2, 150  # requests to an operation: in `make test`, in `make prove`


def operations() -> list[Operation]:
    schema = schemathesis.openapi.from_dict(create_app().openapi())
    return [each.ok() for each in schema.get_all_operations()]


OPERATIONS = operations()


@pytest.fixture
def asking(sign_in: SignIn, admin: Person, researcher: Person, labeler: Person, project: Project) -> TestClient:
    """An admin's browser in a filled installation, in which what breaks is an answer of 500."""
    fill(project, {Role.admin: admin, Role.researcher: researcher, Role.labeler: labeler})
    cookies = dict(sign_in(admin).cookies)
    return TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False, cookies=cookies)


def cases(operation: Operation) -> st.SearchStrategy[Case]:
    return st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)


def send(client: TestClient, case: Case, path: str) -> int:
    """As schemathesis would, but by a client that sends what Unicode has no place for too."""
    said = case.as_transport_kwargs(base_url="http://testserver")
    body: dict[str, Any] = {}
    if "json" in said:
        body = {"content": json.dumps(said["json"])}
    elif said.get("files"):
        body = {"files": [(name, _file(given)) for name, given in said["files"]]}
    elif isinstance(said.get("data"), bytes | str):
        body = {"content": said["data"]}
    elif said.get("data"):
        body = {"data": said["data"]}
    headers = {"Content-Type": "application/json"} if "content" in body else {}
    url = path or said["url"].removeprefix("http://testserver")
    params = {str(name): str(value) for name, value in (said.get("params") or {}).items()}
    return client.request(said["method"], url, params=params, headers=headers, **body).status_code


def _file(given: Any) -> Any:
    name, content = given[:2]
    return (name, content.encode(errors="surrogatepass") if isinstance(content, str) else content)


def broken(client: TestClient, project: Project, operation: Operation, count: int) -> list[str]:
    """The requests that were answered with 500 or more."""
    found: list[str] = []
    there = [*candidates(operation.path, project)][:4]  # what is there, so that not every answer is that nothing is

    @settings(max_examples=count, database=None, phases=[hypothesis.Phase.generate], derandomize=True,
              suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @given(case=cases(operation), path=st.sampled_from(["", *there, *there]))
    def _ask(case: Case, path: str) -> None:
        status = send(client, case, path)
        if status >= 500:
            found.append(f"{status} to {case.as_curl_command()[:400]} at {path}")

    _ask()
    return found


def test_no_request_of_a_script_breaks_it(asking: TestClient, project: Project) -> None:
    assert [each for operation in OPERATIONS for each in broken(asking, project, operation, EACH)] == []


@pytest.mark.prove
def test_no_request_of_many_breaks_it(asking: TestClient, project: Project) -> None:
    assert [each for operation in OPERATIONS for each in broken(asking, project, operation, EACH_OF_MANY)] == []
