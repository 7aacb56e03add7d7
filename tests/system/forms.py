"""Fill in a page's form as a browser would: what it is prefilled with, changed where the test says so."""

from html.parser import HTMLParser

import httpx


class _Fields(HTMLParser):
    """The names and values that a form would send, untouched."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.action, self.values, self.multiple = action, {}, {}
        self._inside = False
        self._select: str | None = None
        self._is_multiple = False
        self._textarea: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._inside = given.get("method") == "post" and (given.get("action") or self.action) == self.action
        if not self._inside:
            return
        name, value = given.get("name"), given.get("value") or ""
        if tag == "input" and name:
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.values[name] = value
        elif tag == "select":
            self._select, self._is_multiple = name, "multiple" in given
        elif tag == "textarea" and name:
            self._textarea = name
            self.values[name] = ""
        elif tag == "option" and self._select and not self._is_multiple:
            is_chosen = "selected" in given or self._select not in self.values
            self.values[self._select] = value if is_chosen else self.values[self._select]

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._textarea = None

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.values[self._textarea] += data


def form_values(page: str, action: str) -> dict[str, str]:
    """What the POST form with this action is prefilled with."""
    fields = _Fields(action)
    fields.feed(page)
    assert fields.values, f"no form for {action} on the page"
    return fields.values


def submit(client: httpx.Client, address: str, *, action: str | None = None, **changes: object) -> httpx.Response:
    """Open `address`, change some fields of its form, send it; fails with what the page says is wrong."""
    page = client.get(address)
    page.raise_for_status()
    values: dict[str, object] = {**form_values(page.text, action or page.url.path)}
    answer = client.post(action or page.url.path, data={**values, **changes})
    assert answer.is_success, f"{address}: {answer.status_code}\n{answer.text[:3000]}"
    return answer
