"""What a night leaves, written through the crew's own settling, without working for it: for tests of what follows."""

from dataclasses import dataclass

from nightcrew.crew import backlog, merger, planning
from nightcrew.crew.outcome import Outcome
from nightcrew.crew.settle import settle
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, Check, HandoffKind, Verdict
from nightcrew.model.ticket import Event
from nightcrew.store import sessions, shifts, tickets
from tests.faults import crew_repository as crew
from tests.gate import Gate


@dataclass
class Night:
    """A shift of ``gate``'s project whose outcomes the test says."""

    gate: Gate
    shift: str = ""

    def begin(self) -> None:
        with self.gate.project.store.begin() as tx:
            self.shift = shifts.start(tx, agents=["build", "qa", "security"]).id

    def end(self) -> None:
        with self.gate.project.store.begin() as tx:
            shifts.end(tx, self.shift, outcome="quiet")

    def ticket(self, title: str, files: dict[str, str], *, ticket: str | None = None) -> str:
        """File a ticket (or take ``ticket``), and hand in a commit that writes ``files``."""
        name = ticket or backlog.add(self.gate.project, title=title).id
        change = self._commit(name, files)
        self._settle(name, "build", Outcome(kind=HandoffKind.WORK, done=f"Wrote it.\n\n{title}", change=change))
        return name

    def passed(self, ticket: str, desk: str, *checks: Check) -> None:
        said = Outcome(kind=HandoffKind.VERDICT, verdict=Verdict.PASSED, done="Nothing was found.", checks=checks)
        self._settle(ticket, desk, said)

    def failed(self, ticket: str, *findings: Finding, desk: str = "qa") -> None:
        check = Check(name="tests", status="failed", detail="a test fails")
        said = Outcome(
            kind=HandoffKind.VERDICT, verdict=Verdict.FAILED, done="It breaks.", checks=(check,), findings=findings
        )
        self._settle(ticket, desk, said)

    def merged(self, ticket: str) -> None:
        result = merger.try_merge(self.gate.project, ticket, self.shift)
        assert result["status"] == "merged", result
        with self.gate.project.store.begin() as tx:
            merger.record_merge(tx, ticket, result)

    def _settle(self, ticket: str, agent: str, outcome: Outcome) -> None:
        project = self.gate.project
        with project.store.begin() as tx:
            planned = planning.plan_in(project, tx, agent, shift=self.shift)
            assert ticket in [line.ticket for line in planned.manifest.tickets], planned.manifest
            session = sessions.create(
                tx, shift=self.shift, agent=agent, manifest=planned.id, budget=planned.manifest.budget, brain=None,
                tickets=[ticket],
            )  # fmt: skip
            sessions.start(tx, session)
            if agent == "build":
                tickets.apply(tx, ticket, Event.START, actor=agent, reason="taken up")
            settle(project, tx, session, ticket, outcome)
            sessions.end(tx, session, outcome="done")

    def _commit(self, ticket: str, files: dict[str, str]) -> Change:
        """A commit of the files on the ticket's branch, from the integration branch or the default one."""
        repo, env = self.gate.home / "repo", crew.environment(self.gate.home)
        known = crew.git(repo, "for-each-ref", "--format=%(objectname)", "refs/heads/nightcrew/integration", env=env)
        base = known or crew.git(repo, "rev-parse", "main", env=env)
        crew.git(repo, "switch", "--quiet", "--detach", base, env=env)
        for name, text in files.items():
            (repo / name).write_text(text)
        crew.git(repo, "add", "--", *files, env=env)
        crew.git(repo, "commit", "--quiet", "--message", f"{ticket}: change", env=env)
        head = crew.git(repo, "rev-parse", "HEAD", env=env)
        branch = f"nightcrew/{ticket}"
        crew.git(repo, "branch", "--force", branch, head, env=env)
        crew.git(repo, "switch", "--quiet", "main", env=env)
        return Change(branch=branch, base=base, head=head, files=tuple(files))
