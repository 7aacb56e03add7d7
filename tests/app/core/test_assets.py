"""Addresses of static files: stamped with their content, and modules known before they are asked for."""

import re

from app.core.assets import STATIC, asset, modules


def test_an_address_changes_with_its_file_and_a_missing_file_has_a_plain_one() -> None:
    assert re.fullmatch(r"/static/look\.css\?v=[0-9a-f]{12}", asset("look.css"))
    assert asset("nothing.css") == "/static/nothing.css"


def test_all_that_a_module_imports_is_named_with_what_that_imports() -> None:
    found = modules("js/ranking_page.js")
    assert {"/static/js/bench.js", "/static/js/compare.js", "/static/js/merge_insertion.js"} <= set(found)
    assert "/static/js/ranking_page.js" not in found
    for address in found:
        text = (STATIC / address.removeprefix("/static/")).read_text()
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert f"/static/js/{name}" in found
