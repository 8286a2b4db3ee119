"""The drills of the crew, each with its safeguard broken: the drill fails, and says why in words for its user.

One copy is made and prepared; each drill begins from it as it was then. What breaks a safeguard is a
``sitecustomize.py`` that the processes in the copy import, and the drill's own process does not.
"""

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent

import pytest
from tests.faults import crew_repository as crew

from nightcrew.crew.project import Project
from nightcrew.readiness.drills import (
    budget_exhaustion,
    context_overflow_crew,
    crash_loop,
    expired_review,
    for_target,
    gate_bypass,
    in_crew,
    missing_model_crew,
    prompt_injection,
    rate_limit_crew,
    settings,
)
from nightcrew.readiness.drills.place import LocalPlace, made
from nightcrew.readiness.drills.protocol import Drill
from nightcrew.readiness.target import CrewTarget, resolve

pytestmark = pytest.mark.timeout(300)

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


def test_session_that_counts_no_turns_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = (
        "counted = charge\ndef charge(tx, of, key, ticket, hard, **k): return counted(tx, of, key, ticket, 10**6, **k)"
    )
    said = failed(budget_exhaustion.DRILL, broken(place, tmp_path, store__turns=code))
    assert "S-0001 sent 10 requests, and its hard cap is 4" in said


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


def test_late_review_that_nobody_hears_of_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    said = failed(
        expired_review.DRILL, broken(place, tmp_path, crew__inbox="def escalate_overdue(project, tx): return []")
    )
    assert "passed its deadline and is pending: nobody else was asked" in said
    assert "no message said at once that R-0001 passed its deadline" in said


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


def test_rate_limit_that_is_not_waited_out_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "def next_delay(self, attempt, failure, elapsed): return 0.0\nRetry.next_delay = next_delay"
    said = failed(rate_limit_crew.DRILL, broken(place, tmp_path, reliability__retry=code))
    assert "had said to wait for 1 s" in said


def test_chain_that_ends_with_its_first_brain_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "every = Chain.__init__\ndef first(self, brains): every(self, brains[:1])\nChain.__init__ = first"
    said = failed(missing_model_crew.DRILL, broken(place, tmp_path, brains__chain=code))
    assert "no other brain took over: T-0001 was not worked to its end" in said


def test_second_brain_of_the_users_chain_takes_over(place: LocalPlace) -> None:
    seen = missing_model_crew.DRILL.run(place)
    assert seen.passed, seen.happened
    assert "brain-2 did the work" in seen.happened
    assert "stood in for first and second" in seen.stood_in


def test_conversation_that_is_not_shortened_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "Metered._fitted = lambda self, messages: list(messages)"
    said = failed(context_overflow_crew.DRILL, broken(place, tmp_path, brains__model__metered=code))
    assert "T-0001 was not worked to its end" in said


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
