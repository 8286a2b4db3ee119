"""One piece of work as another place has it: the form that every import gives and that filing takes."""

from typing import Self

from pydantic import Field, field_validator

from nightcrew.checks.text import plain_text
from nightcrew.model.document import Document
from nightcrew.model.finding import Finding
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Kind, Priority

TITLE = 300
BODY = 190_000
_CUT = "\n\n(cut here: the rest is where this came from)"


class Imported(Document):
    """One issue, finding, failing test, comment or line of another place; ``source`` and ``ref`` name it for good.

    ``source`` says which place (``github:OWNER/REPO``, ``sarif:bandit``, ``todo``), ``ref`` which of its things: an
    issue's number, a fingerprint. A second import of the same two is the same ticket. ``url`` is where a person reads
    it. ``depends`` are refs of the same source. ``severity`` is set only where the other place states one; at or above
    the gate the ticket waits for a person. ``findings`` are recorded with the ticket. ``command`` is a shell line:
    no import but that of a person's own JSON lines may set it. ``by_stranger``: who wrote it has no rights there, and
    can still change it after somebody let it in; a changed text waits for a person then.

    Text is data: ``of`` cleans and cuts it.
    """

    source: str = Field(min_length=1, max_length=200)
    ref: str = Field(min_length=1, max_length=500)
    title: str = Field(min_length=1, max_length=TITLE)
    body: str = Field(default="", max_length=BODY)
    kind: Kind = Kind.FEATURE
    priority: Priority = Priority.P2
    url: str = Field(default="", max_length=2000)
    severity: Severity | None = None
    breaks_build: bool = False
    depends: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    command: str | None = None
    by_stranger: bool = False

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if url and not url.startswith(("https://", "http://")):
            raise ValueError("a URL begins with https:// or http://")
        return url

    @classmethod
    def of(
        cls,
        *,
        source: str,
        ref: str,
        title: str,
        body: str = "",
        kind: Kind = Kind.FEATURE,
        priority: Priority = Priority.P2,
        url: str = "",
        severity: Severity | None = None,
        breaks_build: bool = False,
        depends: tuple[str, ...] = (),
        findings: tuple[Finding, ...] = (),
        by_stranger: bool = False,
    ) -> Self:
        """Of text that others wrote: one clean line as title, a clean body of bounded size, a URL only of the web.

        Raises DocumentError if source or ref is empty or too long.
        """
        cleaned = plain_text(body, limit=BODY - len(_CUT))
        return cls.read(
            {
                "source": source,
                "ref": ref,
                "title": one_line(title) or f"{source} {ref}"[:TITLE],
                "body": cleaned + _CUT if len(body) > BODY - len(_CUT) else cleaned,
                "kind": kind,
                "priority": priority,
                "url": url if url.startswith(("https://", "http://")) and len(url) <= 2000 else "",
                "severity": severity,
                "breaks_build": breaks_build,
                "depends": depends,
                "findings": findings,
                "by_stranger": by_stranger,
            },
            source=f"{source} {ref}"[:300],
        )


def one_line(text: str, limit: int = TITLE) -> str:
    """``text`` as one clean line of at most ``limit`` characters."""
    return plain_text(" ".join(plain_text(text, limit=100_000).split()), limit=limit)
