"""Standing below a path: what comes in loses it, what goes out has it, whether or not the proxy takes it off."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from jinja2 import Environment, TemplateSyntaxError

from app.accounts import service as accounts
from app.accounts.models import Person
from app.core.assets import STATIC
from app.core.base_path import ATTRIBUTES, HEADERS, AddressesBelow, base_path, below
from app.core.config import Settings, WrongSettings
from app.core.db import writing
from app.core.pages import TEMPLATES, environment
from app.main import create_app
from app.projects.models import Project

PASSWORD = "three red boats"
APP = Path(__file__).parent.parent.parent.parent / "app"


@pytest.fixture
def installation_url(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOUCHSTONE_PUBLIC_URL", "https://example.org/tools/touchstone/")
    return sqlite_url


@pytest.fixture(params=["the proxy leaves it on", "the proxy takes it off"])
def asked(request: pytest.FixtureRequest, installation: Settings) -> Iterator[TestClient]:
    """Below the path either way, as https behind a proxy."""
    way = "/tools/touchstone" if "leaves" in request.param else ""
    with TestClient(create_app(), base_url=f"https://example.org{way}", follow_redirects=False) as client:
        yield client


def test_signing_in_leads_on_below_the_path(asked: TestClient, admin: Person, project: Project) -> None:
    with writing() as session:
        accounts.set_password(session.get_one(Person, admin.id), PASSWORD)
    sent_off = asked.get(f"/p/{project.slug}/prompts")
    assert sent_off.headers["location"] == f"/tools/touchstone/sign-in?then=/p/{project.slug}/prompts"
    form = asked.get(f"/sign-in?then=/p/{project.slug}/prompts").text
    assert 'action="/tools/touchstone/sign-in"' in form
    then = re.search(r'name="then" value="([^"]*)"', form)
    assert then is not None
    answer = asked.post("/sign-in", data={"email": admin.email, "password": PASSWORD, "then": then[1]})
    assert answer.headers["location"] == f"/tools/touchstone/p/{project.slug}/prompts"
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-touchstone_session~tools~touchstone=")  # a second one on the host has its own
    assert "Path=/" in flags
    page = asked.get(f"/p/{project.slug}/prompts")
    assert page.status_code == 200
    assert f'href="/tools/touchstone/p/{project.slug}/prompts/import"' in page.text
    assert leaving(page.text) == []


def leaving(html: str) -> list[str]:
    """Whatever in a page leads to this host, but not below the path."""
    return re.findall(r'[\w-]+=["\'](?:\d+; url=)?/(?!tools/touchstone/)(?!")[^"\']*', html)


def test_a_signed_in_person_is_led_nowhere_else(asked: TestClient, admin: Person) -> None:
    with writing() as session:
        accounts.set_password(session.get_one(Person, admin.id), PASSWORD)
    for then in ("//evil.example", "/\\evil.example", "https://evil.example"):
        answer = asked.post("/sign-in", data={"email": admin.email, "password": PASSWORD, "then": then})
        assert answer.headers["location"] == "/tools/touchstone/"
    answer = asked.post("/sign-in", data={"email": admin.email, "password": PASSWORD, "then": "/tools/touchstone/me"})
    assert answer.headers["location"] == "/tools/touchstone/me"  # copied from the address bar, and not twice


def test_what_is_no_page_is_there_too(asked: TestClient) -> None:
    assert asked.get("/healthz").json() == {"status": "ok"}
    assert asked.get("").status_code == asked.get("/").status_code == 303
    assert asked.get("/static/look.css").headers["cache-control"] == "no-cache"
    assert asked.get("/api/v1/me").headers["content-type"] == "application/problem+json"
    assert asked.get("/api/v1/openapi.json").json()["servers"] == [{"url": "/tools/touchstone"}]
    slash = asked.get("/people/")  # Starlette's own redirect
    assert (slash.status_code, slash.headers["location"]) == (307, "/tools/touchstone/people")


def test_a_path_that_only_begins_alike_is_no_way_in(installation: Settings) -> None:
    with TestClient(create_app(), base_url="https://example.org") as client:
        assert client.get("/tools/touchstonex/healthz").status_code == 404
        assert client.get("/tools/touchstone/tools/touchstone/healthz").status_code == 404


@pytest.mark.parametrize("path", ["/api/touchstone", "/static"])
def test_a_path_where_pages_are_is_refused(installation: Settings, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "public_url", f"https://example.org{path}")
    with pytest.raises(WrongSettings, match="where pages are"):
        create_app()


@pytest.mark.parametrize("wrong", ["example.org", "ftp://example.org", "https://example.org/a b", "https://x/a//b",
                                   "https://x/a?b", "https://x/..", "https://me@x/", "https://"])  # fmt: skip
def test_a_public_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="write it as https"):
        Settings(public_url=wrong)


def test_whole_addresses_have_the_path_once(installation: Settings) -> None:
    assert installation.address == "https://example.org/tools/touchstone"
    assert (base_path(), below("/me"), below("https://x/y")) == (
        "/tools/touchstone",
        "/tools/touchstone/me",
        "https://x/y",
    )


def test_templates_get_it_wherever_an_address_begins(installation: Settings) -> None:
    made = Environment(extensions=[AddressesBelow], autoescape=True)
    made.globals.update(base_path=base_path, address_below=below)
    page = '<a href="/p/{{ x }}" title="/me"><a href="{{ y if x else z }}/x">{% set z = "/z" %}<a href="{{ z }}">//a'
    assert made.from_string(page).render(x="x", y="/y") == (
        '<a href="/tools/touchstone/p/x" title="/me"><a href="/tools/touchstone/y/x"><a href="/tools/touchstone/z">//a'
    )
    assert (
        made.from_string('<a href="{{ x }}"><a href="//y">').render(x="https://x/")
        == '<a href="https://x/"><a href="//y">'
    )
    with pytest.raises(TemplateSyntaxError, match="begins with a condition"):
        made.from_string('<a href="{% if x %}/x{% endif %}">')


def test_no_address_in_a_template_or_a_script_goes_past_it() -> None:
    """In an attribute that is not among those, in the other quotes, or made up by a script."""
    for file in TEMPLATES.rglob("*.html"):
        environment.get_template(str(file.relative_to(TEMPLATES)))  # no address begins with a condition
        text = file.read_text()
        others = {name for name in re.findall(r"""\s([\w-]+)=["']?/(?!/)""", text) if name not in ATTRIBUTES}
        assert others == set(), file
        unquoted = re.findall(rf"""(?<![\w-])(?:{"|".join(ATTRIBUTES)})=[^"].{{9}}""", text)
        assert unquoted == [], file
        assert not re.search(r"url=(?!\{\{ address_below\()", text), file
    for file in (STATIC / "js").glob("*.js"):
        assert not re.search(r"""["'`(]/\w+/""", file.read_text()), file
    for file in STATIC.rglob("*.css"):
        assert not re.search(r"url\(['\"]?/", file.read_text()), file


def test_no_route_sets_another_header_that_leads_somewhere() -> None:
    leading = re.compile(r"""["'](content-location|refresh|hx-(?!request)[a-z-]+)["']""", re.IGNORECASE)
    for file in set(APP.rglob("*.py")) - {APP / "core/base_path.py"}:
        assert {name.lower().encode() for name in leading.findall(file.read_text())} <= HEADERS, file
