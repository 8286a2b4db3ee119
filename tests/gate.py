"""A prepared repository with people enrolled and reviews that wait, made without running a night."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightcrew.approvals import PassphraseSigner, Reviewer, ScryptParameters, Signer, create_key, fresh_nonce
from nightcrew.crew import deciding, reviewers, setup
from nightcrew.crew.project import Project, open_project
from nightcrew.crew.settle import open_review
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.review import Decision, Review
from nightcrew.model.routing import Route
from nightcrew.model.severity import Severity
from nightcrew.model.ticket import Event, Kind, State
from nightcrew.store import findings, tickets
from tests.faults import crew_repository as crew

FAST = ScryptParameters(n=2**10)
START = datetime(2026, 1, 5, 7, 0, tzinfo=UTC)


@dataclass
class Gate:
    """The project, a clock that the test moves, and the keys of the people in it."""

    home: Path
    now: datetime = START
    signers: dict[str, list[PassphraseSigner]] = field(default_factory=dict)
    _project: Project | None = None

    @property
    def project(self) -> Project:
        if self._project is None:
            self._project = open_project(self.home / "repo", clock=lambda: self.now)
        return self._project

    def playbook(self, review: str) -> None:
        """Replace the playbook by one with this ``review:`` section."""
        (self.home / "repo" / ".nightcrew" / "playbook.md").write_text(
            f"---\nschema: nightcrew/playbook/v1\nreview:\n{review}\n---\nRules.\n"
        )
        self.reopen()

    def reopen(self) -> None:
        if self._project is not None:
            self._project.close()
            self._project = None

    def enrol(self, name: str, *, by: str | None = None) -> PassphraseSigner:
        """Enrol a new key of ``name``, signed by one of ``by``, by default of the first reviewer."""
        _, signer = create_key("a pass phrase", scrypt=FAST)
        anchor, repository = self.project.anchor, self.project.repository_id
        if not anchor.begun(repository):
            anchor.enrol_first(repository, name, signer, nonce=fresh_nonce(), clock=self.project.clock)
        else:
            signs = self.signers[by or (name if name in self.signers else next(iter(self.signers)))][0]
            anchor.enrol(
                repository,
                name,
                kind=signer.kind,
                public_key=signer.public_key,
                by=signs,
                nonce=fresh_nonce(),
                clock=self.project.clock,
            )
        self.signers.setdefault(name, []).append(signer)
        reviewers.record(self.project, "reviewer.add", name, name)
        return signer

    def review(
        self,
        title: str = "A key lies in the code",
        *,
        severity: str = "high",
        path: str = "settings.py",
        rule: str = "B105",
    ) -> Review:
        """A review of a finding that must not be worked before a person approved it."""
        code = f"{title} {path} {rule}"
        finding = Finding(
            fingerprint=fingerprint(tool="bandit", rule=rule, path=path, code=code),
            tool="bandit",
            rule=rule,
            category=Category.SECURITY,
            severity=Severity(severity),
            message=title,
            path=path,
            line=1,
            evidence=f"KEY = '{title}'",
            confidence=0.9,
        )
        with self.project.store.begin() as tx:
            ticket = tickets.add(
                tx,
                actor="security",
                title=title,
                kind=Kind.SECURITY,
                severity=finding.severity,
                state=State.IN_REVIEW,
                origin="baseline",
                findings=[finding.fingerprint],
            )
            findings.record(tx, finding, ticket=ticket.id)
            return open_review(
                self.project, tx, ticket, None, Route("human", Event.GATE, title, finding.severity, Event.APPROVE_WORK)
            )

    def signer(self, name: str) -> Callable[[Sequence[Reviewer]], Signer]:
        return lambda keys: next(s for s in self.signers[name] if s.key_id in {key.key_id for key in keys})

    def decide(
        self,
        *reviews: str,
        by: str = "ada",
        decision: Decision = Decision.APPROVE,
        comment: str = "seen",
        to: str | None = None,
    ) -> list[Review]:
        return deciding.decide(
            self.project, reviews, decision, reviewer=by, signer=self.signer(by), comment=comment, escalate_to=to
        )

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


def prepare(home: Path, patch: pytest.MonkeyPatch) -> Gate:
    """A repository made ready for the crew in ``home``, with ``ada`` enrolled."""
    home.mkdir(parents=True, exist_ok=True)
    for name, value in crew.environment(home).items():
        patch.setenv(name, value)
    patch.setenv("NIGHTCREW_CONFIG_DIR", str(home / "config"))
    patch.setenv("XDG_STATE_HOME", str(home / "state"))
    crew.make(home / "repo", crew.environment(home))
    setup.initialise(home / "repo")
    gate = Gate(home)
    gate.enrol("ada")
    return gate
