"""What drills of the crew share: setting up the copy, running a shift in it, reading what came of it."""

import importlib.util
import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from nightcrew.crew import backlog, baseline
from nightcrew.crew.importing.jsonl import import_jsonl
from nightcrew.crew.planning import brain_names
from nightcrew.crew.project import STATE, Project
from nightcrew.model.frontmatter import join, split
from nightcrew.model.handoff import Handoff
from nightcrew.model.playbook import parse, playbook_digest
from nightcrew.model.settings import Turns
from nightcrew.model.ticket import Priority, Ticket
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.readiness.drills import settings
from nightcrew.readiness.drills.model import Model
from nightcrew.readiness.drills.protocol import Done, NotDone, Place
from nightcrew.readiness.target import CrewTarget, Target
from nightcrew.store import handoffs, ledger, tickets

KEY = "NIGHTCREW_DRILL_KEY"
"""The variable of the scripted model's key, which opens nothing."""
BUILD = ("build",)
ALL = ("build", "qa", "security")
_MECHANICAL = "mechanical"
_BRAIN = "scripted"


def needs_models(_target: Target) -> str:
    """Why a drill with a scripted model cannot be done here; empty if it can."""
    missing = [name for name in ("pydantic_ai", "anthropic") if importlib.util.find_spec(name) is None]
    if missing:
        return f"it asks a scripted model, and {missing[0]} is not installed: pip install 'nightcrew[models]'"
    return ""


def project(place: Place) -> Project:
    """The copy's crew."""
    assert isinstance(place.target, CrewTarget)  # noqa: S101 - what drills ``on`` the crew are given
    return place.target.project


def live_brains(place: Place, agent: str = "build") -> list[str]:
    """The brains that the user gave an agent, but for the mechanical one."""
    assert isinstance(place.live, CrewTarget)  # noqa: S101 - as above
    return [name for name in brain_names(place.live.project, agent) if name != _MECHANICAL]


def stood_in(names: Sequence[str]) -> str:
    """What the scripted model was instead of."""
    if not names:
        return "a scripted model on this machine worked in place of the mechanical brain, which is the crew's only one"
    return f"a scripted model on this machine stood in for {' and '.join(names)}"


def set_up(
    place: Place,
    model: Model | None = None,
    *,
    brains: Sequence[str] = (_BRAIN, _MECHANICAL),
    agents: Sequence[str] = BUILD,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the copy's settings: ``brains`` are all the scripted model, asked under their names; ``tables`` add to it.

    The baseline is taken as done: a drill works its own tickets, not what is found in the repository.
    """
    now = settings.load(place.root)
    now["checks"] = {**now.get("checks", {}), "scanners": []}
    if model is not None:
        given = now.get("agents", {})
        now["agents"] = {**given, **{name: {**given.get(name, {}), "brains": list(brains)} for name in agents}}
        now["brains"] = {
            name: {"kind": "model", "model": f"anthropic:{name}", "base_url": model.url, "key_env": KEY}
            for name in brains
            if name != _MECHANICAL
        }
    for name, table in (tables or {}).items():
        now[name] = {**now.get(name, {}), **table}
    settings.save(place.root, now)
    if git(place, "ls-files", "--", SETTINGS_FILE) and git(place, "status", "--porcelain", "--", SETTINGS_FILE):
        git(place, "commit", "--quiet", "--no-verify", "--message", "Settings of the drill", "--", SETTINGS_FILE)
    if baseline.is_due(project(place)):
        with project(place).store.begin() as tx:
            data = {"commit": "", "findings": 0, "tickets": [], "not_checked": {}}
            ledger.append(tx, actor="drill", action=baseline.ACTION, subject=baseline.SUBJECT, data=data)


def rules_of_reviews(place: Place, **values: Any) -> str:
    """Let the drill's reviewer decide all reviews of the copy, under ``values``; gives what that stood in for."""
    before = project(place).playbook.review
    _set_playbook(place, review={"deadline_hours": before.deadline_hours, **values})
    return "the drill's reviewer stood in for those whom the playbook names" if before.reviewers else ""


def without_routes(place: Place) -> str:
    """Take the playbook's own routes out of the copy's, so that each desk sees the change; gives a note of it."""
    if not project(place).playbook.routes:
        return ""
    _set_playbook(place, routes=[])
    return "the copy has none of the playbook's routes, which send work to a person before all desks have seen it"


def _set_playbook(place: Place, **values: Any) -> None:
    path = place.root / STATE / "playbook.md"
    front, body = split(path.read_text(encoding="utf-8"), source=path.name)
    text = join({**front, **values}, body)
    path.write_text(text, encoding="utf-8")
    crew = project(place)
    crew.playbook, _ = parse(text, source=path.name)
    crew.playbook_text, crew.playbook_sha256 = text, playbook_digest(text)


def caps(place: Place) -> Turns:
    """The caps of a build session, as the user set them: the copy has the usual ones."""
    assert isinstance(place.live, CrewTarget)  # noqa: S101 - as above
    given = settings.load(place.live.project.root)
    agent = given.get("agents", {}).get("build", {})
    own = {name: agent[name] for name in ("soft", "hard") if name in agent}
    return Turns.read({**given.get("budget", {}), **own}, source=SETTINGS_FILE)


def file_ticket(
    place: Place, title: str, *, body: str = "", command: str | None = None, priority: Priority = Priority.P0
) -> str:
    """File a ticket in the copy; gives its id."""
    return backlog.add(project(place), title=title, body=body, command=command, priority=priority).id


def import_tickets(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """File tickets with a severity, as a scanner's findings are brought in; gives their ids in order."""
    file = place.scratch / "tickets.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    brought = import_jsonl(project(place), file, with_commands=True).things
    if refused := [one for one in brought if one.ticket is None]:
        raise NotDone(f"the drill's tickets were not filed: {refused[0].reason}")
    return [one.ticket for one in brought if one.ticket is not None]


def shift(place: Place, *agents: str, env: Mapping[str, str] | None = None) -> Done:
    """Run a shift to its end; raises NotDone if it did not end as shifts do."""
    done = place.nightcrew(*shift_arguments(*agents), env={KEY: "none", **(env or {})})
    if done.status not in (0, 1):
        raise NotDone(f"the shift did not run to its end: it ended with {done.status}: {done.tail()}")
    return done


def shift_arguments(*agents: str) -> list[str]:
    """The arguments of a shift of these agents that reports as JSON."""
    return ["shift", "--json", *(word for agent in agents or BUILD for word in ("--agent", agent))]


def must(place: Place, *arguments: str) -> Done:
    """Run a command that has to work before anything is injected; raises NotDone."""
    done = place.nightcrew(*arguments)
    if done.status not in (0, 1):
        raise NotDone(f"nightcrew {' '.join(arguments[:2])} ended with {done.status}: {done.tail()}")
    return done


def ticket(place: Place, ticket_id: str) -> Ticket:
    """A ticket of the copy, as it is now."""
    with project(place).store.read() as tx:
        return tickets.get(tx, ticket_id)


def last_handoff(place: Place, ticket_id: str, sender: str = "build") -> Handoff | None:
    """What an agent wrote last of a ticket."""
    with project(place).store.read() as tx:
        return next(reversed([one for one in handoffs.list(tx, ticket=ticket_id) if one.sender == sender]), None)


def worked(place: Place, ticket_id: str) -> str:
    """Empty if the build desk handed its work on the ticket to QA, else what is wrong, in words."""
    handoff = last_handoff(place, ticket_id)
    if handoff is None:
        return f"nobody worked {ticket_id}, and no handoff says why"
    if handoff.kind == "work":
        return ""
    return f"{ticket_id} was not worked to its end: {short(handoff.done)}"


def short(text: str, characters: int = 300) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[:characters]} ..."


def git(place: Place, *arguments: str) -> str:
    """Run git in the copy; gives what it printed. Raises NotDone."""
    done = subprocess.run(
        ["git", *arguments], cwd=place.root, env=dict(place.environment), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=place.left(),
    )  # fmt: skip
    if done.returncode:
        raise NotDone(f"git {arguments[0]}: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()


def requests_of(model: Model, session: str) -> int:
    """How many requests a session sent."""
    return sum(1 for asked in model.asked if asked.session == session)
