"""What has happened to software of this kind (docs of each in SECURITY.md), tried on ours, hole by hole."""

import csv
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from app.accounts import service as accounts
from app.accounts import tokens
from app.accounts.deps import COOKIE
from app.accounts.models import Person, Role
from app.accounts.routes import local_path
from app.core.db import writing
from app.core.errors import Invalid
from app.core.pages import TEMPLATES
from app.core.security import HEADERS
from app.core.storage import Artefacts
from app.datasets.schemas import read_filter
from app.projects.models import Project
from app.registry.models import Model
from app.registry.service import check_source
from tests.app.test_access import WAYS
from tests.conftest import SignIn
from tests.security.addresses import NO_PAGES, candidates
from tests.security.hostile import fill

ROOT = Path(__file__).parents[2]
FORMULA = "=HYPERLINK(1)"


@pytest.fixture
def filled(sign_in: SignIn, admin: Person, researcher: Person, labeler: Person, project: Project) -> TestClient:
    """An admin's browser in a filled installation."""
    fill(project, {Role.admin: admin, Role.researcher: researcher, Role.labeler: labeler})
    return sign_in(admin)


def files_of(client: TestClient, project: Project, ending: str = "") -> Iterator[tuple[str, str, bytes]]:
    """Everything but pages and JSON that it answers with: address, headers' text and content."""
    for path in sorted({way.path for way in WAYS if way.method == "GET" and NO_PAGES.search(way.path)}):
        if path.startswith(("/api/", "/healthz", "/readyz", "/metrics")) or not path.endswith(ending):
            continue
        for address in candidates(path, project):
            answer = client.get(address)
            if answer.status_code == 200:
                yield path, str(dict(answer.headers)), answer.content
                break


def test_json_in_scripts_there_is_none_nor_anything_else_inline() -> None:
    wrong = []
    for file in sorted(TEMPLATES.rglob("*")):
        text = file.read_text() if file.is_file() else ""
        wrong += [f"{file.name}: {each}" for each in re.findall(r"<script(?![^>]* src=)[^>]*>", text)
                  if 'type="speculationrules"' not in each]  # fmt: skip
        wrong += [f"{file.name}: {each}" for each in re.findall(r"<script[^>]*>(?!</script>)[^\n]+|\|\s*safe\b", text)
                  if "</script>" not in each and "speculationrules" not in each]  # fmt: skip
        if file.suffix == ".html" and "report" not in file.name:
            wrong += [f"{file.name}: {each}" for each in re.findall(r"\s(?:on[a-z]+|style|hx-on[^=]*)=[\"']", text)]
    assert wrong == []


def test_files_are_never_shown_inline(filled: TestClient, project: Project) -> None:
    found = list(files_of(filled, project))
    assert len(found) > 12
    shown = [path for path, headers, _ in found if "'content-disposition': 'attachment; filename=\"" not in headers]
    sniffed = [path for path, headers, _ in found if "'x-content-type-options': 'nosniff'" not in headers]
    assert (shown, sniffed) == ([], [])


def test_formula_injection_no_cell_of_any_csv_runs(filled: TestClient, project: Project) -> None:
    with writing() as session:
        session.execute(update(Person).values(name=FORMULA))
        session.execute(update(Model).where(Model.name.not_like("base%")).values(notes=FORMULA, source=FORMULA))
    cells = [
        cell
        for _, _, content in files_of(filled, project, ".csv")
        for row in csv.reader(io.StringIO(content.decode(), newline=""))
        for cell in row
    ]
    assert f"'{FORMULA}" in cells
    assert [cell for cell in cells if re.match(r"\s*[=+@]|\s*-(?![0-9])", cell)] == []


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
     {"Origin": "null"}, {"Origin": "http://testserver.evil.example"}, {"Origin": "http://testserver:8080"}],
    ids=str,
)  # fmt: skip
def test_cross_site_requests_change_nothing_on_any_route(
    sign_in: SignIn, admin: Person, project: Project, headers: dict[str, str]
) -> None:
    browser = sign_in(admin)
    unsafe = [way for way in WAYS if way.method not in ("GET", "HEAD", "OPTIONS")]
    let_in = [
        way for way in unsafe if browser.request(way.method, way.address(project), headers=headers).status_code != 403
    ]
    assert (len(unsafe) > 90, let_in) == (True, [])


def test_filter_fields_reach_no_other_columns(filled: TestClient, project: Project) -> None:
    for address in ("prompts", "models", "runs", "snapshots", "prefixes", "webhooks", "prompt-imports"):
        plain = filled.get(f"/api/v1/projects/{project.slug}/{address}")
        for name in (
            "password_hash",
            "person__password_hash__startswith",
            "created_by.email",
            "token_hash",
            "project_id",
        ):
            asked = filled.get(
                f"/api/v1/projects/{project.slug}/{address}", params={name: "a", "sort": name, "order": name}
            )
            assert (asked.status_code, asked.json()) == (200, plain.json())
        assert "password_hash" not in plain.text
        assert "token_hash" not in plain.text
    for name in ("password_hash", "person.email", "project_id", "prompt__messages"):
        with pytest.raises(Invalid, match="filter"):
            read_filter({name: "a"})


@pytest.mark.parametrize(
    "address",
    ["/static/../app/core/config.py", "/static/..%2fcore/config.py", "/static/%2e%2e/core/config.py",
     "/static/..%5ccore%5cconfig.py", "/static//etc/passwd", "/static/%2fetc%2fpasswd",
     "/static/js/../../core/config.py",
     "/static../core/config.py", "/static/....//core/config.py"],
)  # fmt: skip
def test_path_traversal_static_files_are_the_packages_alone(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code in (404, 405)
    assert "BaseSettings" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "..", ""])
def test_path_traversal_no_key_leads_out_of_the_store(tmp_path: Path, key: str) -> None:
    store = Artefacts(str(tmp_path / "store"), tmp_path / "cache")
    for use in (store.exists, store.size, store.folder, store.working_folder, store.remove):
        with pytest.raises(ValueError, match="not a key"):
            use(key)
    with pytest.raises(ValueError, match="not a key"), store.writing(key):
        pass
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".ssh", 'a"b', "a\r\nX: y", "a\x00b", "ä", "a b", "-"])
def test_path_traversal_and_header_injection_by_model_names(
    sign_in: SignIn, admin: Person, project: Project, name: str
) -> None:
    answer = sign_in(admin).post(f"/p/{project.slug}/models", data={"name": name, "source": "starter"})
    assert (answer.status_code, "be a model" in answer.text) == (422, True)


@pytest.mark.parametrize(
    "source", ["/etc", "../models", "file:///etc", "hub:../..", "hub:a/b/c", "s3://x", "https://x.y/z"]
)
def test_path_traversal_and_ssrf_by_a_models_source(source: str) -> None:
    with pytest.raises(Invalid):
        check_source(source, allow_folders=False)


ELSEWHERE = ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
             "/\n/evil.example", "javascript:alert(1)", " //evil.example", "/%09/evil.example", "http:evil.example",
             "///evil.example", "evil.example", "/@evil.example"]  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE)
def test_open_redirects_signing_in_leads_nowhere_else(sign_in: SignIn, admin: Person, target: str) -> None:
    location = sign_in(admin).get(f"/sign-in?then={quote(target)}").headers["location"]
    for led in (location, local_path(target)):
        assert (urlsplit(led).netloc, led[:1], led[1:2] in ("/", "\\")) == ("", "/", False)
        assert not re.search(r"[\t\n\r\\]", led)


def test_clickjacking_no_answer_can_be_framed_whatever_it_is(client: TestClient, project: Project) -> None:
    asked = [way.address(project) for way in WAYS if way.method == "GET"]
    for address in [*asked, "/nothing", "/static/look.css", "/static/nothing", "/?a=%00", f"/p/{project.slug}/desk"]:
        headers = client.get(address).headers
        framed = (headers["X-Frame-Options"], "frame-ancestors 'none'" in headers["Content-Security-Policy"])
        assert framed == ("DENY", True), address
        assert {name: headers[name] for name in HEADERS} == HEADERS, address


def test_tokens_in_addresses_there_is_but_the_link_that_works_once() -> None:
    assert {way.path for way in WAYS if re.search("token}|secret|key}|code}", way.path) and "figures" not in way.path
            and "contests" not in way.path} == {"/welcome/{token}"}  # fmt: skip


def test_tokens_in_logs_there_is_none_nor_a_password(
    client: TestClient, admin: Person, caplog: pytest.LogCaptureFixture
) -> None:
    with writing() as session:
        link = accounts.new_sign_in_link(session, admin)
        bearer = tokens.create_token(session, admin, name="notebook", scope=tokens.Scope.read, days=1)
        cookie = accounts.start_session(session, admin)
    caplog.set_level(logging.DEBUG)
    client.get(link)
    client.get(f"/nothing?token={bearer}", headers={"Authorization": f"Bearer {bearer}"})
    client.cookies.set(COOKIE, cookie)
    client.get("/me")
    client.post("/sign-in", data={"email": admin.email, "password": "a wrong password"})
    client.post("/api/v1/sign-in", json={"email": admin.email, "password": ["a wrong password"]})
    with writing() as session:
        session.execute(text("PRAGMA query_only = ON"))
    assert client.post(link, data={"password": "three red boats"}).status_code == 503
    assert "was refused" in caplog.text
    ours = [record for record in caplog.records if record.name.startswith(("touchstone", "uvicorn", "app"))]
    told = "\n".join(str(record.__dict__) for record in ours)
    assert "/welcome/{token}" in told
    for secret in (link.rsplit("/", 1)[1], bearer, cookie, "a wrong password"):
        assert secret not in told
