"""Texts that nobody vouches for, prompts and completions, made safe to show: as Markdown, and sign by sign."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup, escape

# Beyond this a text is shown as it is: hostile Markdown of this length renders in a fifth of a second, prose in 20 ms.
LONGEST_MARKDOWN = 20_000
_TAGS = {
    *("p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "hr", "br", "pre", "code", "em", "strong", "s"),
    *("table", "thead", "tbody", "tr", "th", "td", "span"),
}
_LINK = re.compile(r'!?\[([^\[\]\n]{0,500})\]\(\s*<?([^\s()<>]{1,2000})>?(?:\s+"[^"\n]{0,500}")?\s*\)')
# None of these in a text: Markdown makes paragraphs of it and nothing else, and so can we, a hundred times faster.
_MARKDOWN = re.compile(r"[`*_\[\\#~|]|^[ \t]*(?:[-+>=]|\d{1,9}[.)])", re.MULTILINE)
_BETWEEN_PARAGRAPHS = re.compile(r"\n(?:[ \t]*\n)+")
_NAMES = {
    "\u00ad": "SHY", "\u061c": "ALM", "\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u200e": "LRM",
    "\u200f": "RLM", "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO",
    "\u2060": "WJ", "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI", "\u2069": "PDI", "\ufeff": "BOM",
    "\u00a0": "NBSP", "\u2028": "LS", "\u2029": "PS",
}  # fmt: skip
# Format and control characters, the blank Hangul fillers and the Braille blank: all that takes no ink.
_UNSEEN = re.compile(
    "[\x01-\x08\x0b-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_UNSEEN_RUN = re.compile(rf"({_UNSEEN.pattern})\1*")
# What ordinary writing holds: joiners (emoji, Persian), variation selectors, directions of Arabic and Hebrew, hard
# spaces.
_ORDINARY = frozenset("\u200c\u200d\u200e\u200f\u061c\u00a0\u00ad\ufe0e\ufe0f\r")


@dataclass(frozen=True, slots=True)
class Shown:
    """A text in both its views. `rendered` is none where only the exact text is shown."""

    rendered: Markup | None
    exact: Markup
    unseen: int  # characters without ink that ordinary writing does not hold


def shown(text: str) -> Shown:
    """`text` as Markdown and exactly as it is; neither can be anything but text to a browser."""
    unseen = sum(char not in _ORDINARY for char in _UNSEEN.findall(text))
    return Shown(rendered(text) if len(text) <= LONGEST_MARKDOWN else None, exact(text), unseen)


def exact(text: str) -> Markup:
    """Every character of `text`; those without ink as small labels."""
    return Markup(_UNSEEN_RUN.sub(lambda run: _label(run[0][0], len(run[0])), str(escape(text))))  # noqa: S704  escaped here


@lru_cache(maxsize=256)
def _label(char: str, times: int) -> str:
    code = f"U+{ord(char):04X}"
    name = unicodedata.name(char, "control character").lower()
    label = _NAMES.get(char, code) + (f" ×{times}" if times > 1 else "")
    return f'<span class="unseen" title="{code} {name}">{label}</span>'


def rendered(text: str) -> Markup:
    """`text` as Markdown: no raw HTML, nothing that loads or leads elsewhere, headings below the page's own."""
    return _rendered(text) if _MARKDOWN.search(text) else _paragraphs(text)


def _paragraphs(text: str) -> Markup:
    parts = [part for part in _BETWEEN_PARAGRAPHS.split(text.strip()) if part]
    lines = ("<br>\n".join(line.strip() for line in escape(part).split("\n")) for part in parts)
    return Markup("".join(f"<p>{part}</p>\n" for part in lines))  # noqa: S704  escaped here


@lru_cache(maxsize=256)
def _rendered(text: str) -> Markup:
    html = _markdown.render(text)
    return Markup(nh3.clean(html, tags=_TAGS, attributes={"ol": {"start"}}, allowed_classes={"span": {"address"}}))  # noqa: S704


def _link_as_text(state: StateInline, silent: bool) -> bool:
    """`[text](address)` and `![text](address)`: the text, then the address; neither leads nor loads."""
    found = _LINK.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        label = f"image: {found[1]}" if state.src[state.pos] == "!" else found[1]
        state.push("text", "", 0).content = f"{label} " if label else ""
        state.push("address", "", 0).content = found[2]
    state.pos = found.end()
    return True


def lower_headings(parser: MarkdownIt, by: int) -> MarkdownIt:
    """`parser`, its headings that many levels lower: a page has one h1, and it is not in a text."""

    def _lower(state: StateCore) -> None:
        for token in state.tokens:
            if token.type in ("heading_open", "heading_close"):
                token.tag = f"h{min(6, int(token.tag[1]) + by)}"

    parser.core.ruler.push("lower_headings", _lower)
    return parser


def _address(_: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    return f'<span class="address">{escape(tokens[index].content)}</span>'


def _parser() -> MarkdownIt:
    """CommonMark with tables, where a newline is a newline and an indent no code, as in what models write."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable(["code", "image", "link", "reference", "autolink", "html_inline", "html_block", "entity"])
    parser.inline.ruler.before("emphasis", "link_as_text", _link_as_text)
    parser.add_render_rule("address", _address)
    return lower_headings(parser, by=2)


_markdown = _parser()
