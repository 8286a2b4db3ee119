"""Working the outbox: each effect is done by looking first, so that once more is never twice.

Between a request and the row that says so, a process may die: the next run finds at the forge what was done, and says
so then. What fails for now waits, longer each time and as long as the forge asks; what is refused waits for a person,
and is tried once more at each run, since nobody tells us what was mended.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from nightcrew.crew.forge import checks, code_scanning, pull_requests, states
from nightcrew.crew.forge.errors import ForgeRefused
from nightcrew.crew.forge.planned import CHECK, ISSUE, PULL, PUSH, SARIF, Branch
from nightcrew.crew.forge.pushing import Pusher
from nightcrew.crew.forge.repository import Forge
from nightcrew.crew.project import Project
from nightcrew.model.errors import ConfigurationError, NightcrewError, TransientError
from nightcrew.reliability import FailureClass, Retry, classify
from nightcrew.store import effects
from nightcrew.store.effects import Effect

_AGAIN = Retry(attempts=1_000, base=60.0, cap=6 * 3600.0)
_BEFORE = (PULL, CHECK, SARIF)
"""What needs the branch to be there first."""


@dataclass
class Worked:
    """What a run did: effects by key, and the problems there were; ``held_up``: there is no sense in going on.

    ``withheld`` are the changes that are not shown at the forge, and why.
    """

    done: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    held_up: bool = False


def work(project: Project, forge: Forge, pusher: Callable[[], Pusher], worked: Worked, *, until: float) -> None:
    """Do what is due, until ``until`` (``time.monotonic``); nothing is raised for a forge that fails or refuses."""
    with project.store.read() as tx:
        waiting = effects.due(tx)
        held = {one.subject for one in effects.waiting(tx) if one.kind == PUSH}
    failed_in_a_row = 0
    for effect in waiting:
        if time.monotonic() > until:
            worked.held_up = True
            worked.problems.append("time was over before everything was done; the rest waits")
            return
        if effect.subject in held and effect.kind.startswith(_BEFORE):
            continue
        try:
            with project.store.read() as tx:
                effects.verify(tx, effect)
            if effect.kind == PUSH and not project.git.exists(Branch.read(effect.doc, source=effect.key).head):
                continue  # the machine that made the commit shares this database, and pushes it
            result = _bring(forge, pusher, effect)
        except NightcrewError as error:
            failure = classify(error)
            passes = isinstance(error, TransientError)
            _put_off(project, effect, error, failure.retry_after, passes=passes)
            worked.problems.append(f"{effect.subject}: {effect.kind}: {error}")
            failed_in_a_row = failed_in_a_row + 1 if passes else 0
            over = failure.kind is FailureClass.RATE_LIMIT or _has_no_token(error)
            if over or failed_in_a_row >= 2:
                worked.held_up = True  # What holds up one request holds up the next.
                return
            continue
        failed_in_a_row = 0
        held.discard(effect.subject)
        with project.store.begin() as tx:
            effects.finish(tx, effect, result)
        worked.done.append(effect.key)


def _bring(forge: Forge, pusher: Callable[[], Pusher], effect: Effect) -> dict[str, Any]:
    source = f"effect {effect.key}"
    if effect.kind == PUSH:
        branch = Branch.read(effect.doc, source=source)
        return {"head": branch.head, "did": pusher().push(branch.branch, branch.head, ours=branch.ours)}
    if effect.kind == PULL:
        wanted = pull_requests.Wanted.read(effect.doc, source=source)
        return {**pull_requests.bring(forge, wanted), "head": wanted.head}
    if effect.kind.startswith(CHECK):
        return checks.bring(forge, checks.Said.read(effect.doc, source=source))
    if effect.kind == SARIF:
        return code_scanning.bring(forge, code_scanning.Upload.read(effect.doc, source=source))
    if effect.kind.startswith(ISSUE):
        return states.bring(forge, states.Spoken.read(effect.doc, source=source))
    raise AssertionError(f"nobody plans {effect.kind}")


def _has_no_token(error: NightcrewError) -> bool:
    """Whether GitHub does not take the token, or there is none to be had."""
    if isinstance(error, ForgeRefused):
        return error.status == HTTPStatus.UNAUTHORIZED or error.failure.error == "NoToken"
    return isinstance(error, ConfigurationError)


def _put_off(project: Project, effect: Effect, error: NightcrewError, asked: float | None, *, passes: bool) -> None:
    with project.store.begin() as tx:
        wait = _AGAIN.delay(effect.attempts + 1, asked)
        again = tx.now() + timedelta(seconds=wait) if passes else None
        effects.fail(tx, effect, str(error), next_at=again)
