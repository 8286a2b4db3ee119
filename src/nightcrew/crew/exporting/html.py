"""The morning report as one page: no script, no address outside it, readable on a phone and on paper."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any

from nightcrew.checks.text import plain_text
from nightcrew.crew.project import Project
from nightcrew.crew.report import Report, latest
from nightcrew.model.handoff import Handoff
from nightcrew.monitoring.redaction import Redaction
from nightcrew.store import handoffs

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def export_html(project: Project, shift: str | None = None) -> bytes:
    """The report of a shift (default: the latest) with its handoffs, secrets masked. Raises NotFoundError."""
    report = latest(project, shift)
    with project.store.read() as tx:
        written = [handoff for line in report.sessions for handoff in handoffs.list(tx, session=line.session)]
    return page(project.root.name, report, written)


def page(name: str, report: Report, written: list[Handoff]) -> bytes:
    """The page's bytes: everything that anybody wrote in it is text, never markup."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    redaction = Redaction()

    def safe(value: Any) -> Any:
        if isinstance(value, Markup) or not isinstance(value, str):
            return value  # made by the template itself, of what passed through here
        return plain_text(redaction.text(value), limit=20_000)

    # The policy names the one style sheet by its hash; whatever else came in would not count.
    digest = hashlib.sha256(_STYLE.findall(_template())[0].encode()).digest()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=safe
    )
    environment.filters["spaced"] = lambda text: str(text).replace("_", " ")
    made = environment.from_string(_template()).render(
        name=name, report=report, written=written, style=Markup("sha256-") + base64.b64encode(digest).decode()
    )
    return made.encode("utf-8", "replace")


@cache
def _template() -> str:
    return resources.files("nightcrew.crew.exporting").joinpath("report.html").read_text(encoding="utf-8")
