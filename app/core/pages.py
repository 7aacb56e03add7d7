"""Jinja2 pages: one environment, strict about undefined names, with the few filters every room uses."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import nh3
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from app.core.assets import asset, modules
from app.core.base_path import AddressesBelow, base_path, below
from app.core.clock import now
from app.core.config import get_settings
from app.core.foreign_text import lower_headings, shown
from app.core.numerals import minus, thousands

TEMPLATES = Path(__file__).parent.parent.parent / "templates"
_markdown = lower_headings(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image"), by=1)
_TAGS = {
    "p",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "pre",
    "code",
    "em",
    "strong",
    "blockquote",
    "hr",
    "br",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "a",
    "s",
}


@lru_cache(maxsize=64)
def markdown(text: str) -> Markup:
    """Untrusted Markdown as safe HTML: raw HTML and images are off, and what is left passes an allow-list."""
    cleaned = nh3.clean(
        _markdown.render(text),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(cleaned)  # noqa: S704  cleaned just above


def ago(moment: datetime | None) -> str:
    """`3 min ago`, as people say it."""
    if moment is None:
        return "never"
    seconds = max(0, int((now() - moment).total_seconds()))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "min")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 and unit != 'min' else ''} ago"
    return f"{seconds} s ago" if seconds > 4 else "just now"


def duration(seconds: float) -> str:
    """`2:05` or `1:02:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _provider() -> str:
    """What people call the provider of single sign-on; nothing where there is none."""
    settings = get_settings()
    return settings.oidc_name if settings.oidc_issuer else ""


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[AddressesBelow],
        auto_reload=False,  # whether five files have changed was asked of the disk for every page
    )
    environment.globals.update(asset=asset, modules=modules, provider=_provider)
    environment.globals.update(base_path=base_path, address_below=below)  # put in by AddressesBelow
    environment.filters.update(
        markdown=markdown, shown=shown, ago=ago, duration=duration, thousands=thousands, minus=minus
    )
    return environment


environment = _environment()


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """`template` as a page. Every page knows who is signed in, the project it belongs to and its flash notice."""
    values.setdefault("person", getattr(request.state, "person", None))
    values.setdefault("project", getattr(request.state, "project", None))
    html = environment.get_template(template).render(request=request, **values)
    return HTMLResponse(html.encode(errors="replace"), status)  # a file's text may hold half of a surrogate pair


def wants_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of the page rather than the whole."""
    return request.headers.get("hx-request") == "true"


def wants_json(request: Request) -> bool:
    is_script = request.url.path.startswith("/api/") or "authorization" in request.headers
    return is_script or "application/json" in request.headers.get("accept", "")
