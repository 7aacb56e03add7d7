"""What axe finds wrong with a page."""

from functools import cache
from typing import Any

from playwright.sync_api import Page

from app import vendor


@cache
def _axe() -> str:
    missing = vendor.missing_files(vendor.TEST_VENDOR, vendor.TEST_FILES)
    assert missing == [], "install it with `python -m app.vendor --tests`"
    return (vendor.TEST_VENDOR / "axe.min.js").read_text()


def serious_faults(page: Page) -> list[str]:
    """The rules that the page as it stands breaks, serious and critical ones, each with where."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical")
    ]
