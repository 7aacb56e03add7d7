"""Whatever is typed into a page's forms or put into its address: it is taken or refused in words, and never breaks."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from app.accounts.models import Person, Role
from app.main import create_app
from app.projects.models import Project
from tests.conftest import SignIn
from tests.security.addresses import candidates, pages
from tests.security.hostile import HOSTILE, fill

# Ends of what dates and numbers can be, what only looks like a number, and what databases have no place for.
ODD = (
    "", "0001-01-01", "9999-12-31", "-1", "1e999", "nan", "9" * 400, "\u0661\u00b2", "\ud800".encode(errors="replace"),
       "\x00", "[[{}]]", HOSTILE, "00000000-0000-0000-0000-000000000000", "x" * 200_000)  # fmt: skip
QUICK = ("9999-12-31", "x" * 200_000)  # in `make test`; all of them in `make prove`
# What ends that which is looked at.
ENDS = re.compile(r"/sign-out$|/erase$|/state$|/discard$|/delete$|/withdraw$|/away$|/pause$|/sign-ins|/second-factor")


class Forms(HTMLParser):
    """A page's forms: where each is sent, and what its fields hold."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((given.get("method", "get").lower(), given.get("action", ""), {}))
        elif tag == "button" and "formaction" in given and self.found:
            self.found.append((self.found[-1][0], given["formaction"], self.found[-1][2]))
        elif tag in ("input", "select", "textarea", "button") and given.get("name") and self.found:
            self.found[-1][2].setdefault(given["name"], given.get("value", ""))


def forms_of(page: str) -> list[tuple[str, str, dict[str, str]]]:
    parser = Forms()
    parser.feed(page)
    return parser.found


@pytest.fixture
def asking(sign_in: SignIn, admin: Person, researcher: Person, labeler: Person, project: Project) -> TestClient:
    fill(project, {Role.admin: admin, Role.researcher: researcher, Role.labeler: labeler})
    cookies = dict(sign_in(admin).cookies)
    return TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False, cookies=cookies)


EXTENT = pytest.mark.parametrize("odd", [QUICK, pytest.param(ODD, marks=pytest.mark.prove)], ids=["few", "all"])


@EXTENT
def test_no_form_breaks_whatever_is_typed(asking: TestClient, project: Project, odd: tuple[str, ...]) -> None:
    broken, tried, seen = [], set(), dict[str, str]()

    def answers(address: str) -> bool:
        answer = asking.get(address)
        seen[address] = answer.text
        return answer.status_code == 200

    for addresses in pages(project, answers).values():
        for address in addresses:
            for method, action, fields in forms_of(seen[address]):
                target = action or address
                kind = (method, re.sub(r"[0-9a-f-]{36}", "*", target), *sorted(fields))
                if kind in tried or ENDS.search(target):
                    continue
                tried.add(kind)
                broken += [f"{method} {target} {said}" for said in _broken(asking, method, target, fields, odd)]
    assert not broken, "\n".join(broken)
    assert len(tried) > 60, "the pages' forms were not found"


def _broken(
    asking: TestClient, method: str, target: str, fields: dict[str, str], odd: tuple[str, ...]
) -> Iterator[str]:
    """Each odd value in every field, and in one by turns, the others being as the page has them."""
    for number, typed in enumerate(odd):
        if method == "get" and len(typed) > 1000:
            continue
        one_only = {**fields, list(fields)[number % len(fields)]: typed} if fields else {}
        for sent in (dict.fromkeys(fields, typed), *([one_only] if odd is ODD else [])):
            way: dict[str, Any] = {"params" if method == "get" else "data": sent}
            status = asking.request(method, target, **way).status_code
            if status >= 500:
                yield f"{status} {sent!r:.200}"


@EXTENT
def test_no_address_breaks_whatever_is_asked_for(asking: TestClient, project: Project, odd: tuple[str, ...]) -> None:
    broken = []
    for route in iter_route_contexts(create_app().routes):
        if "GET" not in (route.methods or ()) or not hasattr(route, "dependant"):
            continue
        names = _query_names(route.dependant)
        for address in [*candidates(route.path, project)][:1] if names else ():
            for typed in ("9" * 400, *odd[:-1]):
                status = asking.get(address, params=dict.fromkeys(names, typed)).status_code
                broken += [f"{status} {address} {names} {typed!r}"] if status >= 500 else []
    assert not broken, "\n".join(broken)


def _query_names(dependant: Any) -> list[str]:
    own = [each.alias for each in dependant.query_params]
    return own + [name for each in dependant.dependencies for name in _query_names(each)]
