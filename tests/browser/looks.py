"""The looks a page is tried in: each scheme and each width in `make test`, each pair of them in `make prove`."""

from typing import Literal

import pytest
from playwright.sync_api import Page

Look = tuple[Literal["light", "dark"], int]  # the colour scheme, and the window's width

LOOKS = [
    pytest.param(("light", 1440), id="light-1440"),
    pytest.param(("dark", 380), id="dark-380"),
    pytest.param(("dark", 1440), id="dark-1440", marks=pytest.mark.prove),
    pytest.param(("light", 380), id="light-380", marks=pytest.mark.prove),
]


def take(page: Page, look: Look) -> None:
    """Nothing glides, so that colours are final when they are read."""
    scheme, width = look
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
