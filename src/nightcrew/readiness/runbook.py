"""Runbooks: one page for each code that an error, a record's failure or an alert carries, in ``runbooks/``."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from nightcrew.model import frontmatter
from nightcrew.model.errors import NotFoundError

SECTIONS = ("Symptom", "Meaning", "First look", "Fix", "Prevention")
"""The headings of every page, in this order."""

_CODE = re.compile(r"(NC|FC|AL)(-[A-Z0-9]+)+", re.ASCII)
_CLASS = re.compile(r"(TRANSIENT|PERMANENT)\.([A-Z_]+)", re.ASCII)
_HTTP = re.compile(r"NC-HTTP-[0-9]{3}", re.ASCII)
_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Runbook:
    """One page. ``kind`` is error, failure (of a record or a call) or alert.

    ``markdown`` is its text below the title, ``sections`` the same by heading.
    """

    code: str
    title: str
    kind: str
    markdown: str
    sections: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"code": self.code, "title": self.title, "kind": self.kind, "sections": dict(self.sections)}


def find(code: str) -> Runbook:
    """The page of a code, however it is written; the class of a failure, such as ``permanent.contract``, will do.

    Raises NotFoundError with the codes that come nearest.
    """
    wanted = normal(code)
    if wanted in codes():
        return _read(wanted)
    near = difflib.get_close_matches(wanted, codes(), n=_NEAREST, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "List them all with: nightcrew runbook"
    raise NotFoundError(f"there is no runbook {code!r}", hint=hint)


def exists(code: str) -> bool:
    """Whether there is a page for exactly this code: errors of the user's own have none."""
    return normal(code) in codes()


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """Every code that has a page, sorted."""
    names = (page.name.removesuffix(".md") for page in _folder().iterdir() if page.name.endswith(".md"))
    return tuple(sorted(name for name in names if _CODE.fullmatch(name)))


def search(text: str = "") -> tuple[Runbook, ...]:
    """The pages that hold every word of ``text``, sorted by code; all of them for none."""
    words = text.lower().split()
    pages = (_read(code) for code in codes())
    return tuple(page for page in pages if all(word in _text(page) for word in words))


def normal(code: str) -> str:
    """The code of the page that a code is explained on: ``FC-RATE-LIMIT`` for ``transient.rate_limit``."""
    text = code.strip().upper()
    if found := _CLASS.fullmatch(text):
        return f"FC-{found[2].replace('_', '-')}"
    if text == "BUG":
        return "FC-BUG"
    return "NC-HTTP" if _HTTP.fullmatch(text) else text


@lru_cache(maxsize=256)
def _read(code: str) -> Runbook:
    name = f"{code}.md"
    front, body = frontmatter.split((_folder() / name).read_text(encoding="utf-8"), source=name)
    parts = re.split(r"^## (.+)$", body.strip(), flags=re.MULTILINE)
    sections = {heading.strip(): text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}
    return Runbook(front["code"], front["title"], front["kind"], f"{body.strip()}\n", sections)


def _text(page: Runbook) -> str:
    return f"{page.code} {page.title} {page.markdown}".lower()


def _folder() -> Traversable:
    return resources.files("nightcrew.readiness") / "runbooks"
