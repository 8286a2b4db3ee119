"""Templates, and what every page shares: the project's name, what waits, the time, and how things are linked."""

import json
import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from nightcrew.crew import hiding, inbox
from nightcrew.model.clock import isoformat
from nightcrew.store import rows
from nightcrew.web import showing
from nightcrew.web.context import Context
from nightcrew.web.markup import finalize, markdown
from nightcrew.web.problems import Problem

_OURS = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?", re.ASCII)
_ALERT = re.compile(r"A-[0-9]+", re.ASCII)
_PAGES = {
    "T": "/tickets/{}", "ticket": "/tickets/{}",
    "S": "/sessions/{}", "session": "/sessions/{}",
    "H": "/handoffs/{}", "handoff": "/handoffs/{}",
    "R": "/reviews/{}", "review": "/reviews/{}",
    "N": "/report?shift={}", "shift": "/report?shift={}",
    "A": "/alerts/{}", "alert": "/alerts/{}",
    "entry": "/ledger/{}", "finding": "/findings?q={}", "pipeline": "/pipelines/{}", "record": "/records/{}",
}  # fmt: skip


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates whose every printed text is escaped and has nothing invisible in it."""
    made = Environment(
        loader=PackageLoader("nightcrew.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(md=markdown, iso=isoformat, pretty=_pretty, quote=shlex.quote, moment=rows.from_time)
    made.filters.update(hidden=lambda text: hiding.hide_text(str(text), ()))
    made.filters.update(spaced=lambda text: str(text).replace("_", " "), grouped=lambda number: f"{number:,}")
    made.globals.update(relative=showing.in_words, lasted=showing.lasted, address=address, inward=inward)
    made.globals.update(runbook_page=runbook_page)
    return made


def page(context: Context, template: str, **values: Any) -> Response:
    """A page of the project."""
    project = context.project
    shared = {
        "now": project.clock(),
        "repository": project.root.name,
        "in_inbox": inbox.waiting_count(project),
        "origin": context.origin,
    }
    return html(template, {**shared, **values})


def html(
    template: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A page of nobody in particular."""
    return HTMLResponse(environment().get_template(template).render(values), status, dict(headers or {}))


def problem_page(problem: Problem) -> Response:
    """A problem, told to a person. It holds nothing of the project, so that it can be told to anybody."""
    return html("problem.html", {"problem": problem}, problem.status, problem.headers)


def address(name: str) -> str:
    """The page of an id (``T-0001``) or of a ledger's subject (``ticket:T-0001``); empty if there is none."""
    noun, colon, identifier = name.partition(":")
    if not colon:
        noun, identifier = name.partition("-")[0], name
    identifier = identifier.partition(" ")[0] if noun == "pipeline" else identifier
    pattern = _PAGES.get(noun)
    if noun == "alert" and not _ALERT.fullmatch(identifier):
        return ""
    return pattern.format(quote(identifier, safe="/" if noun == "record" else "")) if pattern and identifier else ""


def runbook_page(runbook: str) -> str:
    """Where a runbook is read: the user's own address on the web, or our page of a code."""
    return runbook if runbook.startswith(("https://", "http://")) else f"/runbooks/{quote(runbook, safe='')}"


def link(path: str, **query: Any) -> str:
    """``path`` with those of the query's values that say something."""
    kept = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


def inward(path: Any, otherwise: str) -> str:
    """``path`` if it is one of ours, which what is stored may only claim."""
    return path if isinstance(path, str) and _OURS.fullmatch(path) else otherwise


def number(text: str | None) -> int | None:
    """A number from an address, None if it is none or too large to be one of ours."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
