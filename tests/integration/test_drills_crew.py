"""The drills of the crew, each with its safeguard broken: the drill fails, and says why in words for its user.

One copy is made and prepared; each drill begins from it as it was then. What breaks a safeguard is a
``sitecustomize.py`` that the processes in the copy import, and the drill's own process does not.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent

import pytest
from tests.faults import crew_repository as crew

from nightcrew.crew.project import Project
from nightcrew.model.settings import Turns
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills import (
    CATALOGUE,
    abandoned,
    broken_change,
    budget_exhaustion,
    context_overflow_crew,
    copying,
    crash_loop,
    damaged_work,
    expired_review,
    failing_agent,
    failing_commands,
    for_target,
    gate_bypass,
    in_crew,
    kill_crew,
    missing_model_crew,
    prompt_injection,
    rate_limit_crew,
    second_worker_crew,
    settings,
)
from nightcrew.readiness.drills.place import LocalPlace, made
from nightcrew.readiness.drills.protocol import Drill
from nightcrew.readiness.target import CrewTarget, resolve

pytestmark = pytest.mark.timeout(300)
storm = pytest.mark.skipif("NIGHTCREW_STORM_EXAMPLES" not in os.environ, reason="the storms run it: real processes")

SETTINGS = """
[budget]
soft = 2
hard = 4
[agents.build]
brains = ["first", "second"]
[brains.first]
kind = "model"
model = "anthropic:one"
[brains.second]
kind = "model"
model = "openai:two"
"""

HOOK = """
import importlib.abc, importlib.machinery, sys

class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    '''Breaks a module as soon as it is imported.'''

    def __init__(self, name, code):
        self.name, self.code = name, code

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        exec(self.code, module.__dict__)

for name, code in {broken!r}.items():
    sys.meta_path.insert(0, Broken(name, code))
"""


@dataclass
class Prepared:
    """A copy as it was prepared, and where that is kept."""

    place: LocalPlace
    kept: Path
    environment: Mapping[str, str]
    project: Project

    def again(self) -> LocalPlace:
        """The copy as it was, at the same place."""
        assert isinstance(self.place.target, CrewTarget)
        self.place.target.project.close()
        shutil.rmtree(self.place.base)
        shutil.copytree(self.kept, self.place.base, symlinks=True)
        self.place.target = CrewTarget(replace(self.project))
        self.place.environment = self.environment
        self.place.begin()
        return self.place


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    home = tmp_path_factory.mktemp("live")
    env = crew.environment(home)
    crew.make(home / "repo", env)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        patch.setenv("NIGHTCREW_CONFIG_DIR", str(home / "config"))
        crew.nightcrew(home / "repo", "init", "--yes", env={**env, "NIGHTCREW_CONFIG_DIR": str(home / "config")})
        (home / "repo" / "nightcrew.toml").write_text(SETTINGS)
        target = resolve(str(home / "repo"), home)
        with made(target, seconds=120) as place:
            abandoned.keep(place.base)  # Its lock does not outlive ``again``: another drill here would sweep it.
            kept = tmp_path_factory.mktemp("kept") / "copy"
            shutil.copytree(place.base, kept, symlinks=True)
            yield Prepared(place, kept, place.environment, replace(in_crew.project(place)))


@pytest.fixture
def place(prepared: Prepared) -> LocalPlace:
    return prepared.again()


def broken(place: LocalPlace, tmp_path: Path, **code: str) -> LocalPlace:
    """The place, where each code is run in a module of nightcrew (``crew__inbox``) in every process that imports it."""
    modules = {f"nightcrew.{name.replace('__', '.')}": dedent(text) for name, text in code.items()}
    (tmp_path / "sitecustomize.py").write_text(HOOK.replace("{broken!r}", repr(modules)))
    place.environment = {**place.environment, "PYTHONPATH": str(tmp_path)}
    return place


def failed(drill: Drill, place: LocalPlace) -> str:
    """Why the drill failed; it must."""
    seen = drill.run(place)
    assert not seen.passed, seen.happened
    return seen.happened


@pytest.mark.sabotages("budget_exhaustion")
def test_session_that_counts_no_turns_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = (
        "counted = charge\ndef charge(tx, of, key, ticket, hard, **k): return counted(tx, of, key, ticket, 10**6, **k)"
    )
    said = failed(budget_exhaustion.DRILL, broken(place, tmp_path, store__turns=code))
    assert "S-0001 sent 10 requests, and its hard cap is 4" in said


@pytest.mark.sabotages("crash_loop")
def test_ticket_that_is_never_set_aside_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    """Neither by the session that counts its tries, nor by the engine that counts its recoveries."""
    engine = """
        made = Workflow.__init__
        def without_end(self, name, function, max_attempts):
            made(self, name, function, 10**6)
        Workflow.__init__ = without_end
    """
    broken(place, tmp_path, crew__session="MAX_TRIES = 10**6", engine__workflows=engine)
    said = failed(crash_loop.DRILL, place)
    assert "was taken up again after it had killed its process 5 times" in said


@pytest.mark.sabotages("gate_bypass")
def test_gate_with_a_hole_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    """Approvals that are not verified, rows that are believed, and no sandbox."""
    settings.save(place.root, {**settings.load(place.root), "sandbox": {"mode": "off"}})
    admission = "def enough(*_): pass\n_check_asked_by = enough\ndef refusals(*_): return iter(())"
    said = failed(
        gate_bypass.DRILL, broken(place, tmp_path, crew__admission=admission, store__tickets="verify_row = get")
    )
    assert "by its row in the database changed to open and not severe" in said
    assert "by an approval signed with a key that nobody enrolled" in said
    assert "by the true approval of another ticket" in said
    assert "a commit that neither QA nor security has seen was merged" in said
    assert f"a command of an agent wrote {place.root}/.nightcrew/" in said


@pytest.mark.sabotages("expired_review")
def test_late_review_that_nobody_hears_of_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    said = failed(
        expired_review.DRILL, broken(place, tmp_path, crew__inbox="def escalate_overdue(project, tx): return []")
    )
    assert "passed its deadline and is pending: nobody else was asked" in said
    assert "no message said at once that R-0001 passed its deadline" in said


@pytest.mark.sabotages("prompt_injection")
def test_text_that_the_crew_obeys_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    """No frame around what others wrote, and a security desk that believes what its model says."""
    security = """
        looked = work
        def work(desk, brain, context):
            made = looked(desk, brain, context)
            believed = "severity: info" in made.done
            return made.model_copy(update={"verdict": "passed", "severity": None, "findings": ()}) if believed else made
    """
    frame = "def framed(piece): return piece.text"
    said = failed(
        prompt_injection.DRILL, broken(place, tmp_path, crew__agents__security=security, brains__prompt=frame)
    )
    assert "reached the model outside the frame that marks it as data" in said
    assert "was merged because the model said so" in said
    assert "no finding says that the change leaks a key" in said


@pytest.mark.sabotages("rate_limit_crew")
def test_rate_limit_that_is_not_waited_out_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "def next_delay(self, attempt, failure, elapsed): return 0.0\nRetry.next_delay = next_delay"
    said = failed(rate_limit_crew.DRILL, broken(place, tmp_path, reliability__retry=code))
    assert "had said to wait for 1 s" in said


@pytest.mark.sabotages("missing_model_crew")
def test_chain_that_ends_with_its_first_brain_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "every = Chain.__init__\ndef first(self, brains): every(self, brains[:1])\nChain.__init__ = first"
    said = failed(missing_model_crew.DRILL, broken(place, tmp_path, brains__chain=code))
    assert "no other brain took over: T-0001 was not worked to its end" in said


def test_second_brain_of_the_users_chain_takes_over(place: LocalPlace) -> None:
    seen = missing_model_crew.DRILL.run(place)
    assert seen.passed, seen.happened
    assert "brain-2 did the work" in seen.happened
    assert "stood in for first and second" in seen.stood_in


@pytest.mark.sabotages("context_overflow_crew")
def test_conversation_that_is_not_shortened_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "Metered._fitted = lambda self, messages: list(messages)"
    said = failed(context_overflow_crew.DRILL, broken(place, tmp_path, brains__model__metered=code))
    assert "T-0001 was not worked to its end" in said


def test_budget_is_the_users_and_is_reached_within_the_drill(place: LocalPlace) -> None:
    """A cap of an agent of its own is above that of [budget] in the copy, too, where it is another."""
    assert in_crew.caps(place) == Turns(soft=2, hard=4)
    live = in_crew.project(place).settings
    assert (live.budget, live.agents["build"].hard) == (Turns(), None)
    assert budget_exhaustion._fitting(Turns(soft=150, hard=200))[0] == Turns(soft=100, hard=100)
    assert budget_exhaustion._fitting(Turns(soft=1, hard=1)) == (
        Turns(soft=1, hard=3), "a hard cap of 3 turns stood in for your 1",
    )  # fmt: skip


def test_files_of_drills_are_seen_where_the_repository_ignores_their_names(prepared: Prepared, tmp_path: Path) -> None:
    assert isinstance(prepared.place.live, CrewTarget)
    root = prepared.place.live.root
    crew.git(root, "switch", "-qc", "ignoring", env=dict(os.environ))
    try:
        (root / ".gitignore").write_bytes(b"*.txt\n# \xff")
        crew.git(root, "add", ".gitignore", env=dict(os.environ))
        crew.git(root, "commit", "-qm", "Ignore", env=dict(os.environ))
        found = copying.clone(prepared.place.live, tmp_path, prepared.environment)
    finally:
        crew.git(root, "switch", "-q", "main", env=dict(os.environ))
        crew.git(root, "branch", "-qD", "ignoring", env=dict(os.environ))
    names = ("nightcrew-drill-0.txt", "other.txt")
    for name in names:
        (found / name).write_text("drill")
    seen = crew.git(found, "status", "--porcelain", "--", *names, env=dict(os.environ))
    assert seen == "?? nightcrew-drill-0.txt"


@storm
@pytest.mark.sabotages("expired_review")
def test_late_review_is_told_of_in_quiet_hours_and_by_tickets(place: LocalPlace) -> None:
    alerts = {"quiet_from": "00:00", "quiet_until": "23:59", "channels": ["backlog"]}
    channel = [{"name": "backlog", "kind": "ticket"}]
    settings.save(place.root, {**settings.load(place.root), "alerts": alerts, "channel": channel})
    seen = expired_review.DRILL.run(place)
    assert seen.passed, seen.happened


@storm
@pytest.mark.sabotages("failing_commands")
def test_command_that_breaks_instead_of_failing_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    lost = "def get(*_, **__): raise KeyError('T-9999')"
    audit = "def verify(*_, **__): raise RuntimeError('broke')"
    said = failed(failing_commands.DRILL, broken(place, tmp_path, store__tickets=lost, crew__audit=audit))
    assert "a ticket that is not there: it failed with NC-BUG, and not with NC-NOT-FOUND" in said
    assert "a ledger that was written to: it failed with NC-BUG, and not with NC-INTEGRITY" in said


@storm
@pytest.mark.sabotages("kill_crew")
def test_turn_that_is_charged_twice_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    turns = """
        import uuid
        once = charge
        def charge(tx, of, key, *more, **named): return once(tx, of, f"{key} {uuid.uuid4()}", *more, **named)
    """
    said = failed(kill_crew.DRILL, broken(place, tmp_path, store__turns=turns))
    assert "S-0001 was charged 2 turns for T-0001, whose command is one" in said


@storm
@pytest.mark.sabotages("kill_crew")
def test_work_that_a_desk_refuses_after_the_kill_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    """It waits for a person then, as the work of a playbook that sends everything to one does."""
    qa = """
        looked = work
        def work(*given): return looked(*given).model_copy(update={"verdict": "failed", "severity": "high"})
    """
    said = failed(kill_crew.DRILL, broken(place, tmp_path, crew__agents__qa=qa))
    assert "qa says that the work on T-0001 is wrong" in said


@storm
@pytest.mark.sabotages("context_overflow_crew")
def test_conversation_that_loses_its_newest_results_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = """
        def _fitted(self, messages):
            fitted, size = list(messages), sum(map(_size, messages))
            for index in reversed(range(len(fitted))):
                if size > self._room and isinstance(fitted[index], ModelRequest):
                    parts, saved, count = _without_results(fitted[index].parts)
                    fitted[index] = dataclasses.replace(fitted[index], parts=parts)
                    size, self._trimmed = size - saved, self._trimmed + count
            return fitted
        Metered._fitted = _fitted
    """
    said = failed(context_overflow_crew.DRILL, broken(place, tmp_path, brains__model__metered=code))
    assert "newer tool results were left out, and older ones kept" in said


@storm
@pytest.mark.sabotages("second_worker_crew")
def test_worker_that_is_not_told_who_works_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    locks = """
        named = acquire
        def acquire(*given):
            try:
                return named(*given)
            except BusyError:
                raise BusyError("busy") from None
    """
    said = failed(second_worker_crew.DRILL, broken(place, tmp_path, store__locks=locks))
    assert "the second shift was not told who works, which is process" in said


@storm
@pytest.mark.sabotages("second_worker_crew")
def test_playbook_that_sends_all_work_to_a_person_fails_no_drill(place: LocalPlace) -> None:
    in_crew._set_playbook(place, routes=[{"when": {"kind": "work"}, "to": "human", "reason": "all of it"}])
    seen = second_worker_crew.DRILL.run(place)
    assert seen.passed, seen.happened


@storm
@pytest.mark.sabotages("prompt_injection")
def test_playbook_with_routes_fails_no_drill_of_what_the_desks_find(place: LocalPlace) -> None:
    in_crew._set_playbook(place, routes=[{"when": {"kind": "work"}, "to": "human", "reason": "all of it"}])
    seen = prompt_injection.DRILL.run(place)
    assert seen.passed, seen.happened
    assert "none of the playbook's routes" in seen.stood_in


def test_drills_are_in_the_catalogue_and_say_what_they_need(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "budget-exhaustion", "crash-loop", "gate-bypass", "expired-review", "prompt-injection", "rate-limit",
        "missing-model", "context-overflow",
    )  # fmt: skip
    found = [for_target(name, prepared.place.live) for name in names]
    assert [drill.name for drill in found] == [*names]
    assert all(drill.applies(prepared.place.live) == "" for drill in found)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'nightcrew[models]'" in prompt_injection.DRILL.applies(prepared.place.live)
    assert gate_bypass.DRILL.applies(prepared.place.live) == ""


@pytest.mark.sabotages("broken_change")
def test_qa_that_compares_nothing_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "def compare(*_): return Comparison((), (), (), (), (), None)"
    said = failed(broken_change.DRILL, broken(place, tmp_path, crew__agents__qa=code))
    assert "T-0001 (double of the code does nothing but raise an error) was not reported by QA" in said
    assert "tests fail on it, and QA did not report them (head: 1 failed; base: 1 passed" in said
    assert "T-0001 (double of the code does nothing but raise an error) was merged into nightcrew/integration" in said
    assert "T-0002 (thing.py does not import) breaks the build, and waits for no person" in said


@storm
@pytest.mark.sabotages("broken_change")
def test_gate_that_lets_a_broken_build_through_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "def _gate(handoff, playbook, severity): return None"
    said = failed(broken_change.DRILL, broken(place, tmp_path, model__routing=code))
    assert "T-0002 (thing.py does not import) breaks the build, and waits for no person: it is open" in said


def _committed(place: LocalPlace, name: str, text: str) -> None:
    (place.root / name).write_text(text)
    in_crew.git(place, "add", "--", name)
    in_crew.git(place, "commit", "--quiet", "--message", name)


@storm
def test_whole_tests_pass_and_hold_what_breaks(place: LocalPlace) -> None:
    seen = broken_change.DRILL.run(place)
    assert seen.passed, seen.happened
    assert "QA found high: test_thing.py::test_double did not fail on base and fails on head" in seen.happened
    assert "QA found high: this worked on base and does not on head" in seen.happened
    assert "a change that harms nothing passed (head: 1 passed; base: 1 passed; nothing became worse)" in seen.happened
    assert seen.happened.endswith("was merged")


@storm
@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("import thing\n\n\ndef test_it():\n    assert thing.double\n", "was not reported by QA: no test fails on it"),
        (
            "import thing\n\n\ndef test_it():\n    assert thing.double is 1\n",
            "no test passes before anything is broken",
        ),
        (
            "import nowhere\n\n\ndef test_it():\n    assert nowhere.double\n",
            "QA cannot tell what a change breaks: head: broken",
        ),
    ],
    ids=["that-notice-nothing", "that-fail-already", "that-cannot-be-collected"],
)
def test_tests_that_show_nothing_fail_the_drill(place: LocalPlace, tests: str, said: str) -> None:
    _committed(place, "test_thing.py", tests)
    assert said in failed(broken_change.DRILL, place)


@storm
def test_command_of_ones_own_is_run_as_it_is(place: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(place.live, CrewTarget)
    crew = place.live.project
    checks = crew.settings.checks.model_copy(update={"test": "python -m pytest -q"})
    monkeypatch.setattr(crew, "settings", crew.settings.model_copy(update={"checks": checks}))
    seen = broken_change.DRILL.run(place)
    assert seen.passed, seen.happened
    assert "QA found high: the test command itself did not fail on base and fails on head" in seen.happened


@storm
def test_project_of_another_language_is_broken_as_a_whole(place: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("thing.py", "test_thing.py", "pytest.ini"):
        in_crew.git(place, "rm", "--quiet", "--", name)
    _committed(place, "double.sh", "double() { echo $((2 * $1)); }\n")
    _committed(place, "Makefile", "test:\n\t. ./double.sh && test $$(double 2) = 4\n")
    seen = broken_change.DRILL.run(place)
    assert seen.passed, seen.happened
    assert "all 1 files of source code end with a line that is no code: QA found high" in seen.happened
    in_crew.git(place, "rm", "--quiet", "--", "double.sh")


@storm
@pytest.mark.sabotages("damaged_work")
def test_lines_that_are_no_tickets_and_are_filed_are_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = """
        def read(cls, value, *, source):
            return cls.model_construct(title=str(value.get("title", "untitled")), command=value.get("command"))
        Line.read = classmethod(read)
    """
    said = failed(damaged_work.DRILL, broken(place, tmp_path, crew__importing__jsonl=code))
    assert "line 3 (a title that is a number) was not refused" in said
    assert "line 2" not in said
    assert "damaged lines were filed as tickets" in said


@storm
@pytest.mark.sabotages("damaged_work")
def test_playbook_that_nobody_checks_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = """
        checked = parse_playbook
        def parse_playbook(text, *, source):
            return checked(text if "whatever" not in text else default_playbook(), source=source)
    """
    said = failed(damaged_work.DRILL, broken(place, tmp_path, crew__project=code))
    assert "a shift began with a playbook that breaks its schema" in said


@pytest.mark.sabotages("failing_agent")
def test_agent_that_does_not_wait_for_its_service_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "def goes_on(*_): return True"
    said = failed(failing_agent.DRILL, broken(place, tmp_path, brains__claude_code=code))
    assert "and the service had said to wait for 1 s" in said


@storm
@pytest.mark.sabotages("failing_agent")
def test_agent_that_nobody_stands_in_for_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "every = Chain.__init__\ndef first(self, brains): every(self, brains[:1])\nChain.__init__ = first"
    said = failed(failing_agent.DRILL, broken(place, tmp_path, brains__chain=code))
    assert "agent-2 asked nothing in place of agent-1, which is not installed" in said


def test_each_box_of_a_crew_can_be_proven_with_what_nightcrew_brings_along(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its brains are: no drill that needs further packages is the only one of its box."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    crew = [for_target(name, prepared.place.live) for name, modules in CATALOGUE.items() if "crew" in modules]
    able = [one for one in crew if not one.applies(prepared.place.live)]
    assert "rate-limit" not in {one.name for one in able}
    assert {box for one in able for box in one.boxes} == set(Box)
