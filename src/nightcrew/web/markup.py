"""Text of agents on a page is data: what cannot be seen is made visible, Markdown becomes a little safe HTML."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

MAX_MARKDOWN = 100_000

# Control characters but tab and line feed, marks that turn or hide text (CVE-2021-42574), invisible ones, half pairs.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
    "|\r(?!\n)"
)


def visible(text: str) -> str:
    """The text with each character that hides, turns or controls shown by its code point, such as ``[U+202E]``."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def finalize(value: Any) -> Any:
    """For Jinja2: everything that a template prints is made visible, and nothing is printed for None."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def markdown(text: str, lowered: int = 3) -> Markup:
    """Markdown of an agent as HTML: none of its own, no images, links to the web only, with their target shown.

    Its headings stand ``lowered`` levels below where it has them, so that they are within the page's own.
    """
    shown = visible(text[:MAX_MARKDOWN])
    rendered = Markup(_parser().render(shown, {"lowered": lowered}))  # noqa: S704 - the parser escapes, and passes no HTML through
    if len(text) > MAX_MARKDOWN:
        rendered += Markup("<p>{} more characters are not shown.</p>").format(len(text) - MAX_MARKDOWN)
    return rendered


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table")
    parser.validateLink = _is_web  # type: ignore[method-assign]
    parser.core.ruler.push("headings_below_ours", _lower_headings)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("fence", _code)
    parser.add_render_rule("code_block", _code)
    parser.add_render_rule("link_open", _link_open)
    parser.add_render_rule("link_close", _link_close)
    return parser


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.netloc)


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            level = int(token.tag[1:]) + state.env["lowered"]
            token.tag = f"h{min(6, level)}"


def _image(_: RendererHTML, tokens: Sequence[Token], at: int, __: Any, ___: Any) -> str:
    """An image as words: to load it would tell its server who reads this."""
    said = escape(visible(tokens[at].content)), escape(visible(str(tokens[at].attrGet("src"))))
    return f'[image: {said[0]}] <span class="target">({said[1]})</span>'


def _code(_: RendererHTML, tokens: Sequence[Token], at: int, __: Any, ___: Any) -> str:
    """A block of code, which a keyboard can scroll."""
    return f'<pre tabindex="0"><code>{escape(tokens[at].content)}</code></pre>\n'


def _link_open(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    tokens[at].attrSet("rel", "noopener noreferrer nofollow")
    tokens[at].attrSet("target", "_blank")
    tokens[at].attrs.pop("title", None)
    return renderer.renderToken(tokens, at, options, env)


def _link_close(___: RendererHTML, tokens: Sequence[Token], at: int, _: Any, __: Any) -> str:
    """The target after the text, so that a link cannot pretend to lead elsewhere."""
    opening = next(i for i in range(at - 1, -1, -1) if tokens[i].type == "link_open")
    target = str(tokens[opening].attrGet("href"))
    text = "".join(token.content for token in tokens[opening + 1 : at])
    shown = "" if text == target else f' <span class="target">({escape(visible(target))})</span>'
    return f"</a>{shown}"
