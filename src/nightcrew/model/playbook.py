"""The playbook: the one shared rulebook, as data that code enforces and as prose that agents and people read."""

from datetime import date
from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from nightcrew.model.canonical import sha256_hex
from nightcrew.model.document import Document
from nightcrew.model.finding import Category
from nightcrew.model.frontmatter import split
from nightcrew.model.handoff import HUMAN, HandoffKind, Verdict
from nightcrew.model.severity import Severity

SCHEMA: Literal["nightcrew/playbook/v1"] = "nightcrew/playbook/v1"
PROTECTED = (
    ".nightcrew/**",
    "nightcrew.toml",
    ".github/**",
    ".gitlab-ci.yml",
    ".circleci/**",
    ".mcp.json",  # starts programs on the machine of whoever opens the repository; so do the next three
    ".claude/**",
    ".cursor/**",
    ".vscode/**",
    "Jenkinsfile",
    "azure-pipelines.yml",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "Cargo.lock",
    "go.sum",
)


class Gates(Document):
    """When a human must decide: a finding at or above ``severity``, a broken build, a change to a protected path."""

    severity: Severity = Severity.HIGH
    breaks_build: Literal[True] = True
    protected_paths: tuple[str, ...] = PROTECTED

    @field_validator("severity")
    @classmethod
    def _never_above_high(cls, severity: Severity) -> Severity:
        if severity.rank > Severity.HIGH.rank:
            raise ValueError("the gate may be lowered, never raised above high")
        return severity


class Match(Document):
    """What a route applies to; every field that is given must fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    kind: HandoffKind | None = None
    sender: str | None = Field(default=None, alias="from")
    verdict: Verdict | None = None
    severity_at_least: Severity | None = None
    category: Category | None = None
    path: str | None = None


class RouteRule(Document):
    """Handoffs that fit ``when`` go to a person, beside what code decides. A route can add a gate, never remove one."""

    when: Match
    to: Literal["human"] = HUMAN
    reason: str = "a route of the playbook"


class ReviewWhen(Document):
    """What a review rule applies to; every field that is given must fit. ``path`` is a glob; ``*`` crosses folders."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    severity_at_least: Severity | None = None
    path: str | None = None
    sender: str | None = Field(default=None, alias="from")
    category: Category | None = None


class ReviewRule(Document):
    """Who may decide the reviews that fit ``when``, how many of them must approve, and how long one may wait.

    Without ``reviewers`` everybody who is enrolled may.
    """

    when: ReviewWhen = ReviewWhen()
    reviewers: tuple[str, ...] = ()
    approvals: int = Field(default=1, ge=1, le=8)
    deadline_hours: float | None = Field(default=None, gt=0, le=24 * 90)

    @model_validator(mode="after")
    def _enough_people(self) -> "ReviewRule":
        if self.reviewers and len(set(self.reviewers)) < self.approvals:
            raise ValueError(f"{self.approvals} approvals are asked of {len(set(self.reviewers))} reviewers")
        return self


class Away(Document):
    """A reviewer who is out of office from the day ``from`` (UTC) until the day ``until``, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    reviewer: str
    begin: date = Field(alias="from")
    until: date

    @model_validator(mode="after")
    def _in_order(self) -> "Away":
        if self.until < self.begin:
            raise ValueError(f"{self.reviewer} comes back ({self.until}) before leaving ({self.begin})")
        return self


class ReviewRules(Document):
    """How long a review may wait, who is asked in which order, who may decide what, and who is away.

    The first of ``rules`` that fits a review is the one that counts. From ``four_eyes_from`` on two different people
    must approve, if two are enrolled when it is asked for.
    """

    deadline_hours: float = Field(default=24, gt=0, le=24 * 90)
    reviewers: tuple[str, ...] = ()
    four_eyes_from: Severity | None = Severity.CRITICAL
    rules: tuple[ReviewRule, ...] = ()
    away: tuple[Away, ...] = ()

    @model_validator(mode="after")
    def _two_can_be_found(self) -> "ReviewRules":
        for number, rule in enumerate(self.rules, start=1):
            if self.four_eyes_from is not None and len(set(rule.reviewers)) == 1:
                raise ValueError(
                    f"rule {number} lets {rule.reviewers[0]} alone decide, and from {self.four_eyes_from} on two "
                    "people must: name a second reviewer, or set four_eyes_from to null"
                )
        return self


class Duties(Document):
    """What one agent must do, as sentences that it is given."""

    must: tuple[str, ...] = ()


def _default_duties() -> dict[str, Duties]:
    return {
        "build": Duties(
            must=(
                "Work only the ticket at hand, in small commits; leave the rest alone and say so.",
                "Add or change a test with every change of behaviour.",
                "Write what is unfinished into the handoff; unfinished work is not finished work.",
            )
        ),
        "qa": Duties(
            must=(
                "Compare head with base; a test that passed and now fails is a regression.",
                "Never edit the code under test.",
            )
        ),
        "security": Duties(
            must=(
                "Report what is new against base; never lower what a tool reported.",
                "A scanner that could not run is not checked, never clean.",
            )
        ),
    }


class Playbook(Document):
    """The rules of the playbook; its defaults are those of the default playbook."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["nightcrew/playbook/v1"] = Field(default=SCHEMA, alias="schema")
    gates: Gates = Gates()
    block_from: Severity = Severity.LOW
    routes: tuple[RouteRule, ...] = ()
    review: ReviewRules = ReviewRules()
    agents: dict[str, Duties] = Field(default_factory=_default_duties)

    @model_validator(mode="after")
    def _blocks_below_the_gate(self) -> "Playbook":
        if self.block_from.rank > self.gates.severity.rank:
            raise ValueError("block_from is above gates.severity")
        return self


def parse(text: str, *, source: str) -> tuple[Playbook, str]:
    """The rules and the prose of a playbook; raises DocumentError naming the field."""
    front, prose = split(text, source=source)
    return Playbook.read(front, source=source), prose


def playbook_digest(text: str) -> str:
    """SHA-256 of the playbook's text."""
    return sha256_hex(text.encode())
