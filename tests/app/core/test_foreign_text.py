"""Prompts and completions are shown as text, whatever is in them."""

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.foreign_text import LONGEST_MARKDOWN, _paragraphs, _rendered, exact, rendered, shown

TAG = re.compile(r"<[^>]*>")
HARMLESS = re.compile(
    r'</?(p|h[3-6]|ul|ol|li|pre|code|em|strong|s|blockquote|hr|br|table|thead|tbody|tr|th|td)>|<ol start="\d+">'
    r'|<span class="address">|</span>'
)
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    '[x](https://evil.example "onmouseover=alert(1)")',
    '[x](https://evil.example/"onmouseover="alert(1)',
    "<https://evil.example>",
    "[x]: https://evil.example\n\n[x] ![x]",
    "<a href=//evil.example>x</a><style>*{display:none}</style><svg/onload=alert(1)>",
    "```<script>\n</code></pre><script>alert(1)</script>\n```",
    "|<b>|\n|-|\n|<i onclick=x>|",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_stays_text_and_nothing_leads_or_loads(text: str) -> None:
    assert [tag for tag in TAG.findall(rendered(text)) if not HARMLESS.fullmatch(tag)] == []
    assert TAG.findall(exact(text)) == []
    assert html.unescape(exact(text)) == text


@given(st.text(st.sampled_from("ab<>&\"'`*_[]()!#\\|~-+=1. \n\t:/\u202e\u200b\u00e9"), max_size=60))
def test_whatever_is_written_makes_harmless_tags_only(text: str) -> None:
    assert [tag for tag in TAG.findall(rendered(text)) if not HARMLESS.fullmatch(tag)] == []


@given(st.text(max_size=200))
def test_the_exact_view_holds_every_character(text: str) -> None:
    def spelled_out(label: re.Match[str]) -> str:
        return chr(int(label[1], 16)) * int(label[2] or 1)

    marks = re.compile(r'<span class="unseen" title="U\+([0-9A-F]+)[^"]*">[^<×]*(?:×(\d+))?</span>')
    assert html.unescape(marks.sub(spelled_out, exact(text))) == html.unescape(html.escape(text))


@given(
    st.text(st.sampled_from("abc,.!?'\"<>& \n()"), max_size=80).filter(lambda text: not re.search(r"(?m)^ *>", text))
)
def test_plain_prose_is_what_markdown_makes_of_it(text: str) -> None:
    assert html.unescape(_paragraphs(text)).split() == html.unescape(_rendered(text)).split()


def test_markdown_and_code() -> None:
    shown_as = rendered("# Plan\nFirst *rest*,\nthen `run`.\n\n    no code\n\n3. three\n\n```py\nx < 1\n```")
    assert shown_as == (
        "<h3>Plan</h3>\n<p>First <em>rest</em>,<br>\nthen <code>run</code>.</p>\n<p>no code</p>\n"
        '<ol start="3">\n<li>three</li>\n</ol>\n<pre><code>x &lt; 1\n</code></pre>\n'
    )


def test_a_link_shows_its_text_and_its_address() -> None:
    assert rendered("See [the *guide*](https://example.org/a_b_c).") == (
        '<p>See the *guide* <span class="address">https://example.org/a_b_c</span>.</p>\n'
    )
    assert "image: a dog <span" in rendered("![a dog](https://evil.example/x.png)")


def test_what_takes_no_ink_is_labelled_and_counted() -> None:
    view = shown("a\u202eb\u200b\u200b\u200bc \U0001f468\u200d\U0001f469")
    assert view.unseen == 4, "the joiner of an emoji is ordinary"
    assert '<span class="unseen" title="U+202E right-to-left override">RLO</span>' in view.exact
    assert ">ZWSP ×3</span>" in view.exact
    assert ">ZWJ</span>" in view.exact


def test_a_very_long_text_is_shown_exactly_and_only_once() -> None:
    view = shown("w" * 100_000)
    assert view.rendered is None
    assert len(view.exact) == 100_000


@pytest.mark.parametrize(
    "pattern", ["[", "![", "a**b", "_a", "[a](", "`a", ">", "- ", "|a|b|\n|-|-|\n", "\u200b\u200c"]
)
def test_no_text_takes_long(pattern: str) -> None:
    """The worst pattern takes about 0.2 s; a machine that is busy may take its time, but never minutes."""
    start = time.process_time()
    shown((pattern * LONGEST_MARKDOWN)[:LONGEST_MARKDOWN])
    assert time.process_time() - start < 2
