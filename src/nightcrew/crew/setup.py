"""Preparing a repository for the crew: state folder, settings, playbook, ledger and its anchor."""

from dataclasses import dataclass
from pathlib import Path

from nightcrew import __version__
from nightcrew.checks.project import detect
from nightcrew.crew.keys import sent_to
from nightcrew.crew.project import STATE, default_playbook, load_project
from nightcrew.crew.published import write_atomically
from nightcrew.crew.workspace import workable
from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.store import ledger

IGNORE = "# Written by nightcrew: everything here is this machine's own state.\n*\n"


@dataclass(frozen=True)
class InitReport:
    """What ``init`` made, what it found out about the repository, and what a person should know."""

    root: Path
    created: tuple[str, ...]
    detected: dict[str, str]
    notes: tuple[str, ...]


def initialise(start: Path, *, clock: Clock = system_clock) -> InitReport:
    """Prepare the repository around ``start``; again, it makes only what is missing.

    Raises RepositoryError (no repository, bare, no commits), ConfigurationError (read-only folder), IntegrityError if
    the repository at this path had another ledger before: its history, and with it its reviewers, would be forgotten.
    """
    state = workable(start)
    root = state.root
    found = detect(root)
    created = [
        name
        for name, text in (
            (f"{STATE}/.gitignore", IGNORE),
            (f"{STATE}/playbook.md", default_playbook()),
            (SETTINGS_FILE, settings_text(found.summary())),
        )
        if _write_missing(root / name, text)
    ]
    project = load_project(root, clock=clock)
    try:
        with project.store.begin() as tx:
            if ledger.head(tx) is None:
                if (known := project.anchor.roots().of(root)) is not None:
                    raise project.anchor.roots().another(root, "an empty ledger", known)
                data = {"version": __version__, "repository": root.name, "created": isoformat(clock())}
                ledger.append(tx, actor="human", action="genesis", subject="ledger:1", data=data)
                created.append("the ledger")
        project.anchor.ledger(project.repository_id).begin(project.repository_id)
        project.anchor.roots().pin(root, project.repository_id)
        project.pin_ledger()
        reviewers = project.anchor.begun(project.repository_id)
    finally:
        project.close()
    notes = list(found.notes)
    if SETTINGS_FILE not in created:
        notes += [f"{SETTINGS_FILE} was there already: {line}" for line in sent_to(project.settings)]
    if not reviewers:
        notes.append("nobody can approve yet: nightcrew reviewer add NAME")
    if state.dirty:
        notes.append("the working tree has changes that are not committed; the crew works from commits only")
    if state.detached:
        notes.append(f"HEAD is detached; work starts from {state.default_branch}")
    return InitReport(root, tuple(created), found.summary(), tuple(notes))


def _write_missing(path: Path, text: str) -> bool:
    if path.exists():
        return False
    write_atomically(path, text.encode())
    return True


def settings_text(detected: dict[str, str]) -> str:
    """The text of a new ``nightcrew.toml``: what was detected as comments, and the settings people change most."""
    lines = [
        "# Settings of nightcrew for this repository. Everything has a default: see `nightcrew doctor`.",
        *(f"# detected {name}: {' '.join(value.split())}" for name, value in detected.items()),
        "",
        "[merge]",
        'into = "nightcrew/integration"',
        "",
        "[budget]  # turns of one session: wrap up at soft, stop at hard",
        "soft = 40",
        "hard = 60",
        "",
        "[checks]",
        '# setup = "make deps"        # makes the environment that the tests run in',
        '# test = "python -m pytest"  # how the project runs its tests',
        "",
    ]
    return "\n".join(lines)
