"""A change looked at by a model, beside what the tools said: its findings are added, and take nothing away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from nightcrew.brains import Chain, Context, MustStop, Piece
from nightcrew.crew.delivery import deliver, fresh_workspace, put_away, ticket_branch
from nightcrew.crew.desk import Desk
from nightcrew.crew.tasks import task_of
from nightcrew.crew.workspace import diff, diff_text
from nightcrew.model.errors import BudgetError, IntegrityError, SandboxError
from nightcrew.model.finding import Finding
from nightcrew.model.handoff import Change, Check

_DIFF_CHARACTERS = 120_000
_INCOMING = "refs/nightcrew/tests"
_FILES = ("100644", "100755")
_STEERING = ("conftest.py", "__init__.py", "setup.py")
_SETTINGS = (".ini", ".cfg", ".toml", ".yml", ".yaml")


@dataclass(frozen=True)
class Review:
    """What a model made of a change: its findings, the check as it is reported, and tests that it added, if any."""

    check: Check
    findings: tuple[Finding, ...] = ()
    said: str = ""
    tests: Change | None = None
    brain: str | None = None


def review(desk: Desk, brain: Chain, context: Context, tools: Sequence[Check], found: Sequence[Finding]) -> Review:
    """Have the ticket's commit looked at. A model that could not look is named as not checked; the tools' word stands.

    Only QA may leave something: tests, in test folders. Anything else in its workspace is dropped, and said.
    """
    ticket = desk.ticket
    if ticket.base is None or ticket.head is None:
        raise IntegrityError(f"{ticket.id} is at the {desk.agent} desk without a commit")
    name = f"review by {brain.name}"
    extra = (
        Piece("results of the tools", "\n".join(f"{one.name}: {one.status}. {one.detail}" for one in tools)),
        Piece("findings of the tools", "\n".join(f"{one.severity} {one.tool}: {one.message}" for one in found)),
        Piece("diff", diff_text(desk.project.root, ticket.base, ticket.head, limit=_DIFF_CHARACTERS)),
    )
    workspace = fresh_workspace(desk, "review", commit=ticket.head, branch=ticket_branch(ticket.id))
    task = task_of(desk, workspace, context=replace(context, extra=extra), findings=(), kind="review")
    try:
        answer = brain.work(task)
    except MustStop:
        put_away(desk, workspace, throwaway=True)
        raise
    except (BudgetError, SandboxError) as error:
        put_away(desk, workspace, throwaway=True)
        return Review(Check(name=name, status="not_checked", detail=str(error)[:1000]))
    desk.flush()
    if not answer.finished:
        put_away(desk, workspace, throwaway=True)
        why = answer.next if answer.brain else answer.done
        return Review(Check(name=name, status="not_checked", detail=why[:1000]), said=answer.done)
    tests, note = None, ""
    if desk.agent == "qa":
        message = f"Tests for {ticket.id}\n\nTicket: {ticket.id}\nSession: {desk.session}"
        left = deliver(desk, workspace, message, ref=f"{_INCOMING}/{ticket.id}/{desk.session}")
        tests, note = _new_tests(desk, left)
    put_away(desk, workspace, throwaway=True)
    kept = desk.without_false_positives(answer.findings)
    detail = f"{len(kept)} findings by {answer.brain}" + (f"; {note}" if note else "")
    check = Check(name=name, status="failed" if kept else "passed", detail=detail)
    return Review(check, tuple(kept), answer.done, tests, answer.brain)


def words(checks: Sequence[Check], said: str) -> str:
    """What was done, for the handoff: each check, and what a model said it looked at."""
    lines = [f"- {check.name}: {check.status}. {check.detail}" for check in checks]
    return "\n".join([*lines, *([f"\n{said}"] if said else [])])


def _new_tests(desk: Desk, left: Change | None) -> tuple[Change | None, str]:
    """What QA left, if it is new tests and nothing else; what was dropped, in words.

    A test that is there already is not QA's to change: it could take a failure away.
    """
    if left is None:
        return None, ""
    patterns = desk.project.settings.checks.test_paths
    other = [
        change.path
        for change in diff(desk.project.root, left.base, left.head)
        if change.status != "added" or change.head_mode not in _FILES or not is_test(change.path, patterns)
    ]
    if other:
        return None, f"dropped what it changed beside new tests: {', '.join(other[:5])}"
    return left, f"added tests: {', '.join(left.files[:5])}"


def is_test(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path lies where QA may write, by the patterns of ``checks.test_paths``."""
    name = path.rpartition("/")[2]
    if name in _STEERING or path.startswith(".") or "/." in path or name.endswith(_SETTINGS):
        return False  # It steers how tests run, and is none.
    return any(fnmatchcase(path, pattern) for pattern in patterns)
