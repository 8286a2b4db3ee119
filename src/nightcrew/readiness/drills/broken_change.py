"""Changes that break the repository, sent through its crew: QA says what they break, and none of them is merged."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nightcrew.checks.project import Detected, declared_content, detect
from nightcrew.checks.python import made_before
from nightcrew.crew import backlog
from nightcrew.crew.project import Project
from nightcrew.model.handoff import Handoff, Verdict
from nightcrew.model.ticket import Kind, Priority, State
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import breaking
from nightcrew.readiness.drills.breaking import Break
from nightcrew.readiness.drills.in_crew import (
    ALL,
    git,
    last_handoff,
    project,
    set_up,
    shift_arguments,
    short,
    ticket,
    without_routes,
)
from nightcrew.readiness.drills.protocol import NotApplicable, NotDone, Observed, On, Place
from nightcrew.readiness.outside_code import has_tests
from nightcrew.readiness.target import CrewTarget, Target
from nightcrew.sandbox import scrubbed_environment

_FILE = "nightcrew-drill-harmless.txt"
_BRANCH = "nightcrew-drill-{}"
_MOST_BYTES = 1_000_000
_MOST_FILES = 2000
_PROBE_SECONDS = 60


@dataclass(frozen=True)
class BrokenChange:
    """See ``Drill``."""

    name: str = "broken-change"
    title: str = "a change that breaks the repository's tests or its build is held, and QA says what it breaks"
    boxes: tuple[Box, ...] = (Box.TESTS,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = (
        "finished work on branches of the copy: functions that the repository's own tests name do nothing but raise an"
        " error; a package does not import; and a change that harms nothing"
    )
    expects: str = (
        "QA, with the crew's own test command, reports what passed on base and fails on head, with a severity; what"
        " breaks the build waits for a person; neither is merged; the harmless change passes"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        if not isinstance(target, CrewTarget) or target.project.settings.checks.test:
            return ""
        found = detect(target.root)
        if found.kind == "python" and not has_tests(target.root, found.source, found.packages):
            return "no tests were found, so QA cannot tell what a change breaks; name the command: [checks] test"
        return "" if found.kind == "python" or found.test else found.notes[0]

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        breaks = _breaks(place)
        note = without_routes(place)
        set_up(place, agents=ALL, tables={"checks": _checks(place), "limits": {"attempts_per_shift": 1}})
        filed = {name: _filed(place, name, one) for name, one in breaks.items()}
        crew = project(place)
        harmless = backlog.add(
            crew, title=f"Write {_FILE}", kind=Kind.CHORE, priority=Priority.P0, command=f"printf drill > {_FILE}"
        )
        place.say("the changes go through the desks of the crew, with its tests")
        done = place.nightcrew(*shift_arguments(*ALL), env=_index(place))
        if done.status is None:
            raise NotApplicable(
                f"its tests were not done in the {place.seconds:.0f} s of a drill; give it more:"
                f" nightcrew drill {self.name} --seconds {5 * place.seconds:.0f}"
            )
        if done.status not in (0, 1):
            raise NotDone(f"the shift did not run to its end: it ended with {done.status}: {done.tail()}")
        seen = {name: _Seen(place, filed[name], one) for name, one in breaks.items()}
        passed = _Seen(place, harmless.id, Break("a text file is added", {}))
        return replace(_judged(seen, passed), stood_in=note)


@dataclass(frozen=True)
class _Seen:
    """What became of one change."""

    place: Place
    ticket: str
    change: Break

    @property
    def qa(self) -> Handoff | None:
        """What QA wrote of it."""
        return last_handoff(self.place, self.ticket, "qa")

    @property
    def tests(self) -> str:
        """What QA says of the tests, in words."""
        checks = self.qa.checks if self.qa is not None else ()
        return next((short(one.detail) for one in checks if one.name == "tests"), "")

    @property
    def state(self) -> State:
        """Where the ticket is now."""
        return ticket(self.place, self.ticket).state

    @property
    def merged(self) -> bool:
        """Whether it is in the branch that finished work is merged into."""
        head, into = ticket(self.place, self.ticket).head, project(self.place).settings.merge.into
        holding = git(self.place, "for-each-ref", "--contains", head, "--format=%(refname:short)") if head else ""
        return self.state is State.DONE or into in holding.splitlines()

    def worse(self) -> list[str]:
        """What QA found that worked on base and does not on head, most severe first."""
        found = [] if self.qa is None else [one for one in self.qa.findings if one.tool == "tests"]
        found = [one for one in found if one.rule in ("regression", "breaks-build")]
        return [f"{one.severity}: {one.message}" for one in sorted(found, key=lambda one: -one.severity.rank)]

    def wrong(self, *, build: bool) -> Iterator[str]:
        """What is wrong; ``build``: it is the change that breaks the build."""
        what = f"{self.ticket} ({self.change.what})"
        if self.qa is None:
            yield f"{what} never came to QA: it is {self.state}"
        elif not self.worse() or self.qa.verdict is Verdict.PASSED:
            head = self.tests.partition("; base:")[0]
            noticed = any(word in head for word in (" failed", " error", "broken", "not collected"))
            why = "tests fail on it, and QA did not report them" if noticed else "no test fails on it"
            yield f"{what} was not reported by QA: {why} ({self.tests or 'the tests were not run'})"
        elif build and not self.qa.breaks_build and "no results of single tests" not in self.tests:
            yield f"{what} breaks the build, and QA did not say so: {self.worse()[0]}"
        if self.merged:
            yield f"{what} was merged into {project(self.place).settings.merge.into}"
        elif build and self.qa is not None and self.state is not State.IN_REVIEW:
            yield f"{what} breaks the build, and waits for no person: it is {self.state}"


def _judged(seen: Mapping[str, _Seen], harmless: _Seen) -> Observed:
    evidence: dict[str, Any] = {
        name: {
            "ticket": one.ticket, "what": one.change.what, "state": str(one.state), "tests": one.tests,
            "found": [short(text) for text in one.worse()[:5]],
        }
        for name, one in {**seen, "harmless": harmless}.items()
    }  # fmt: skip
    if why := _cannot_tell(harmless):
        return Observed(False, why, evidence=evidence)
    wrong = [problem for name, one in seen.items() for problem in one.wrong(build=name == "build")]
    happened = "; ".join(wrong) or "; ".join([*(_said(one) for one in seen.values()), _said(harmless)])
    return Observed(not wrong, happened, _seconds(next(iter(seen.values()))), None, evidence)


def _cannot_tell(harmless: _Seen) -> str:
    """Why the tests say nothing of any change; raises NotApplicable if there are none."""
    if harmless.tests.startswith("head: no_tests"):
        raise NotApplicable(f"the repository has no tests that could fail: {harmless.tests}")
    qa = harmless.qa
    if qa is None:
        return f"{harmless.ticket}, which harms nothing, never came to QA: it is {harmless.state}"
    if qa.verdict is Verdict.NOT_CHECKED:
        return f"QA cannot tell what a change breaks: {harmless.tests}"
    if qa.verdict is not Verdict.PASSED:
        return f"{harmless.ticket}, which only adds a text file, does not pass QA: {harmless.tests}"
    if " passed" not in harmless.tests.partition("; base:")[2]:
        return f"no test passes before anything is broken, so none can show what breaks: {harmless.tests}"
    if harmless.state not in (State.DONE, State.IN_REVIEW):
        return f"{harmless.ticket}, which harms nothing, passed QA and was not merged: it is {harmless.state}"
    return ""


def _said(one: _Seen) -> str:
    worse = one.worse()
    if not worse:
        note = ticket(one.place, one.ticket).note
        then = "was merged" if one.state is State.DONE else f"waits for a person ({short(note, 160)})"
        return f"a change that harms nothing passed ({one.tests}) and {then}"
    more = f" and {len(worse) - 1} more" if len(worse) > 1 else ""
    then = "waits for a person" if one.state is State.IN_REVIEW else "was sent back"
    return f"{one.change.what}: QA found {short(worse[0], 160)}{more}, and it {then}"


def _seconds(one: _Seen) -> float | None:
    """From the change's being handed to QA until QA had said what it breaks."""
    build, qa = last_handoff(one.place, one.ticket), one.qa
    return (qa.created - build.created).total_seconds() if build is not None and qa is not None else None


def _breaks(place: Place) -> dict[str, Break]:
    """What is broken, by a name; raises NotApplicable if nothing can be broken that tests would have to notice."""
    checks, detected = _live(place).settings.checks, detect(place.root)
    listed = git(place, "ls-files").splitlines()
    if detected.kind != "python":
        source = _texts(place, [one for one in listed if breaking.is_source(one, detected.kind)], checks.test_paths)
        if not source:
            raise NotApplicable(f"no source code was found that {checks.test or ' '.join(detected.test or ())} tests")
        return {"tests": breaking.unloadable(source)}
    inside = [f"{detected.source}/{name}".removeprefix("./") for name in detected.packages]
    mine = [one for one in listed if one.endswith(".py") and any(_within(one, name) for name in inside)]
    source = _texts(place, mine, checks.test_paths)
    tests = [one for one in listed if one.endswith(".py") and breaking.is_test(one, checks.test_paths)]
    broken = breaking.called(source, _texts(place, tests))
    if broken is None:
        raise NotApplicable("its tests name no function of its own packages, so there is none to break for them")
    tops = [top for name in inside for top in (f"{name}/__init__.py", f"{name}.py") if top in source]
    return {"tests": broken, "build": breaking.unimportable(source, (tops or list(broken.files))[0])}


def _within(path: str, package: str) -> bool:
    return path == f"{package}.py" or path.startswith(f"{package}/")


def _texts(place: Place, paths: list[str], without: tuple[str, ...] = ()) -> dict[str, str]:
    """Files of the copy that are text, by path."""
    found: dict[str, str] = {}
    for name in paths[:_MOST_FILES]:
        path = place.root / name
        if path.is_symlink() or not path.is_file() or breaking.is_test(name, without):
            continue
        try:
            found[name] = path.read_bytes()[:_MOST_BYTES].decode()
        except UnicodeDecodeError:
            continue
    return found


def _filed(place: Place, name: str, change: Break) -> str:
    """Commit a change to a branch, as somebody who has finished it, and file its ticket; gives that."""
    branch = _BRANCH.format(name)
    git(place, "switch", "--quiet", "--create", branch)
    for path, text in change.files.items():
        (place.root / path).write_bytes(text.encode())
    git(place, "commit", "--quiet", "--no-verify", "--message", change.what, "--", *change.files)
    git(place, "switch", "--quiet", "-")
    made = backlog.add(project(place), title=f"Take {branch}", kind=Kind.CHORE, priority=Priority.P0, branch=branch)
    return made.id


def _checks(place: Place) -> dict[str, Any]:
    """The live crew's own settings of how tests are run; an environment that it has made is used, never written."""
    own = _live(place).settings.checks
    return {
        "test": own.test, "junit": own.junit, "setup": own.setup, "network": own.network, "lint": False,
        "scanners": ["ruff-s"],  # What security has not looked at would wait for a person.
        "package_network": own.package_network, "python": own.python or _there(_live(place), place.root, own.setup),
    }  # fmt: skip


def _index(place: Place) -> dict[str, str]:
    """What making an environment needs of this one, if none was made yet: where the package index is."""
    found = scrubbed_environment(temp=place.scratch, packages=True)
    return {name: value for name, value in found.items() if name not in place.environment}


def _there(live: Project, root: Path, setup: str) -> str:
    """The interpreter that the live crew would run the tests of this commit with; empty if one is yet to be made."""
    detected = detect(root)
    if detected.kind != "python":
        return ""
    if not setup and (users := _users(live, root, detected)):
        return users
    found = made_before(root, detected, folder=live.work_dir / "envs", setup=setup)
    return "" if found is None else str(found)


def _users(live: Project, root: Path, detected: Detected) -> str:
    """The environment in the user's tree, if it would be taken."""
    python = detect(live.root).user_python
    if python is None or declared_content(live.root, detected.keys) != declared_content(root, detected.keys):
        return ""
    probe = [str(python), "-B", "-c", "import pytest"]
    done = subprocess.run(probe, cwd="/", capture_output=True, timeout=_PROBE_SECONDS, stdin=subprocess.DEVNULL)
    return str(python) if done.returncode == 0 else ""


def _live(place: Place) -> Project:
    assert isinstance(place.live, CrewTarget)  # noqa: S101 - see ``on``
    return place.live.project


DRILL = BrokenChange()
