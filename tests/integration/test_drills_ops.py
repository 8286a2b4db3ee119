"""The drills about running unattended, each with its safeguard broken: the drill fails, and says why.

One copy of a crew is made for all of them; what breaks a safeguard is a ``sitecustomize.py`` that the processes in the
copy import, or what a user could write into ``nightcrew.toml``.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from textwrap import dedent, indent
from types import SimpleNamespace

import pytest
from tests.faults import crew_repository as crew

from nightcrew.crew import carried
from nightcrew.model.ticket import State
from nightcrew.readiness.drills import (
    dead_alert_channel,
    full_disk,
    missed_schedule,
    restore_from_backup,
    running,
    second_worker,
    second_worker_crew,
    settings,
    why_not,
)
from nightcrew.readiness.drills.place import Given, LocalPlace, made
from nightcrew.readiness.drills.protocol import Done, Drill
from nightcrew.readiness.target import CrewTarget, PipelineTarget, resolve
from nightcrew.store.copying import copy_database

pytestmark = pytest.mark.timeout(300)
storm = pytest.mark.skipif("NIGHTCREW_STORM_EXAMPLES" not in os.environ, reason="the storms run it: real processes")

SETTINGS = """
[[channel]]
name = "chat"
urls_env = "CHAT"
[[channel]]
name = "pager"
urls_file = "/etc/pager"
"""
HOOK = """
import importlib.abc, importlib.machinery, sys

class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
{code}

sys.meta_path.insert(0, Broken())
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlace]:
    home = tmp_path_factory.mktemp("live")
    repo = home / "repo"
    env = {**crew.environment(home), "NIGHTCREW_CONFIG_DIR": str(home / "config")}
    crew.make(repo, env)
    (repo / "nightcrew.toml").write_text(SETTINGS)
    crew.git(repo, "branch", "nightcrew/integration", "broken", env=env)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        crew.nightcrew(repo, "init", "--yes", env=env, check=True)
        crew.nightcrew(repo, "ticket", "add", "Say what it is", env=env, check=True)
        with made(resolve(str(repo), home), seconds=120) as place:
            yield place


@pytest.fixture
def place(shared: LocalPlace) -> LocalPlace:
    """The crew's copy, with the settings that it was made with."""
    settings.save(shared.root, settings.harmless(settings.load(shared.live.root)))
    shared.begin()
    return replace(shared)


def broken(place: LocalPlace, tmp_path: Path, module: str, code: str) -> LocalPlace:
    """The place, where ``code`` is run on ``module`` in every process as it is imported."""
    hook(tmp_path, module, code)
    return replace(place, environment={**place.environment, "PYTHONPATH": str(tmp_path)})


def hook(folder: Path, module: str, code: str) -> None:
    text = HOOK.format(module=module, code=indent(dedent(code).strip(), "        "))
    (folder / "sitecustomize.py").write_text(text)


def failed(drill: Drill, place: LocalPlace) -> str:
    """Why the drill failed; it must."""
    seen = drill.run(place)
    assert not seen.passed, seen.happened
    return seen.happened


def content(folder: Path) -> dict[str, str]:
    """Every file and its digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Restore from backup ------------------------------------------------------------------------------------------------


def test_backup_of_the_live_state_is_restored_and_the_live_state_is_only_read(place: LocalPlace) -> None:
    before = content(place.live.root.parent)
    seen = restore_from_backup.DRILL.run(place)
    assert seen.passed, seen.happened
    assert seen.evidence["restored"] == seen.evidence["live"]
    assert (seen.evidence["live"]["tickets"], seen.evidence["refs"]) == (1, 1)
    assert content(place.live.root.parent) == before
    assert not list(place.scratch.glob("backup-*")), "keys of the live crew were left in the copy"


def test_backup_of_a_damaged_state_is_noticed(place: LocalPlace) -> None:
    with closing(sqlite3.connect(place.live.root / ".nightcrew" / "nightcrew.db", isolation_level=None)) as live:
        row = live.execute("SELECT rowid, priority FROM tickets").fetchone()
        live.execute("UPDATE tickets SET priority = 'P0'")
        try:
            said = failed(restore_from_backup.DRILL, place)
        finally:
            live.execute("UPDATE tickets SET priority = ? WHERE rowid = ?", (row[1], row[0]))
    assert said.startswith("the audit finds 1 things that do not fit in what was restored: ")
    assert "T-0001" in said


@pytest.mark.sabotages("restore_from_backup")
def test_backup_that_misses_what_came_last_is_noticed(place: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def old(source: Path, target: Path) -> None:
        copy_database(source, target)
        with closing(sqlite3.connect(target, isolation_level=None)) as made_of_it:
            made_of_it.execute("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)")
            made_of_it.execute("DELETE FROM tickets")

    monkeypatch.setattr(carried, "copy_database", old)
    said = failed(restore_from_backup.DRILL, place)
    assert "1 of 1 rows of tickets are missing in what was restored" in said
    assert "rows of ledger are missing" in said


def test_state_in_postgres_is_not_for_this_drill(place: LocalPlace) -> None:
    assert isinstance(place.live, CrewTarget)
    project = place.live.project
    elsewhere = replace(project, settings=project.settings.model_copy(update={"database_url": "postgresql://db/crew"}))
    assert "pg_dump" in why_not(restore_from_backup.DRILL, CrewTarget(elsewhere))


# Missed schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.sabotages("missed_schedule")
def test_missed_night_that_nobody_hears_of_and_nothing_makes_up_for_is_noticed(
    place: LocalPlace, tmp_path: Path
) -> None:
    settings.save(place.root, {**settings.load(place.root), "alerts": {"disabled": ["schedule-missed"]}})
    code = "module.Firer._claim = lambda self, name: None"
    said = failed(missed_schedule.DRILL, broken(place, tmp_path, "nightcrew.schedule.firing", code))
    assert "nobody is told that the schedule was missed: no alert schedule-missed fires" in said
    assert "the night was not made up for: the call after the outage ran no shift" in said


# Dead alert channel -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [True, False], ids=["two-channels", "one-channel"])
def test_alert_of_a_dead_channel_is_not_lost(place: LocalPlace, second: bool) -> None:
    now = settings.load(place.root)
    now["channel"] = now["channel"][: 2 if second else 1]
    settings.save(place.root, now)
    seen = dead_alert_channel.DRILL.run(place)
    assert seen.passed, seen.happened
    assert seen.evidence["dead"] == "chat"
    assert seen.evidence["next"] == (["pager"] if second else [])


@pytest.mark.sabotages("dead_alert_channel")
def test_channel_that_swallows_alerts_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "module.notify = lambda urls, title, body, **_: []"
    said = failed(dead_alert_channel.DRILL, broken(place, tmp_path, "nightcrew.monitoring.notify", code))
    assert "reached nobody: chat is dead and pager did not get it, but the outbox says that chat took it" in said
    assert "no alert says that chat is dead" in said


def test_files_of_addresses_are_not_read_in_the_copy(place: LocalPlace) -> None:
    assert "urls_file" not in json.dumps(settings.load(place.root))


# Full disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.sabotages("full_disk")
def test_full_disk_that_nobody_looks_at_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    code = "module.disk_usage = lambda _: module._ntuple_diskusage(10**30, 0, 10**30)"
    (tmp_path / "sitecustomize.py").write_text(f"import shutil as module\n{code}\n")
    place = replace(place, environment={**place.environment, "PYTHONPATH": str(tmp_path)})
    said = failed(full_disk.DRILL, place)
    assert "nobody is told that the disk is nearly full: no alert disk-full fires" in said
    assert "work went on although the disk was nearly full" in said


@pytest.mark.parametrize(
    ("status", "errors", "words"),
    [
        (0, "", "reported success although its state could not be written"),
        (None, "", "hung"),
        (70, "Traceback (most recent call last)", "broke without a word that helps"),
        (75, "error: no space left", ""),
    ],
)
def test_what_a_shift_may_say_of_a_full_disk(status: int | None, errors: str, words: str) -> None:
    met = full_disk.Met(Done(("nightcrew", "shift"), status, "", errors, 1.0), went_on=False, seconds_since_room=0.0)
    assert words in "; ".join(met.wrong())
    assert bool(words) == bool(list(met.wrong()))


@pytest.mark.parametrize(
    ("ended", "text", "audit", "said"),
    [
        (State.QUARANTINED, "drill", 0, "T-1 ended quarantined, not done: "),
        (State.DONE, "drill\ndrill", 0, "the work of T-1 is there 2 times"),
        (State.DONE, "drill", 1, "the audit finds something wrong: entry 3"),
        (State.DONE, "drill", 0, ""),
    ],
)
def test_what_is_wrong_with_work_that_met_a_full_disk(
    place: LocalPlace, monkeypatch: pytest.MonkeyPatch, ended: State, text: str, audit: int, said: str
) -> None:
    monkeypatch.setattr(full_disk, "ticket", lambda *_: SimpleNamespace(state=ended))
    monkeypatch.setattr(full_disk, "git", lambda *_: text)
    monkeypatch.setattr(place, "nightcrew", lambda *_: Done((), audit, "", "entry 3", 1.0))
    assert "; ".join(full_disk._done_once(place, "T-1")).startswith(said)


# Each thing that is expected, broken ----------------------------------------------------------------------------------

BROKEN: dict[str, tuple[Drill, str, str, str]] = {
    "an alert is sent twice": (
        dead_alert_channel.DRILL, "nightcrew.monitoring.notify",
        "real = module.notify\nmodule.notify = lambda *a, **m: (real(*a, **m), real(*a, **m))[1]",
        "came 2 times",
    ),
    "the next channel is not told why": (
        dead_alert_channel.DRILL, "nightcrew.monitoring.alerts.delivery",
        "real = module._body\nmodule._body = lambda message, problems, **m: real(message, (), **m)",
        "does not say that chat is dead",
    ),
    "each missed night is made up for": (
        missed_schedule.DRILL, "nightcrew.store.firings",
        "module.miss = lambda tx, schedule, due, **_: module.claim(tx, schedule, due)",
        "ran 3 shifts, one for each missed night, where one was due",
    ),
    "missed nights are not noted": (
        missed_schedule.DRILL, "nightcrew.store.firings", "module.miss = lambda *_, **__: None",
        "the history names 0 of them as missed",
    ),
    "the first missed night is made up for": (
        missed_schedule.DRILL, "nightcrew.schedule.due",
        """
        real = module.due
        def due(tx, kept):
            found = real(tx, kept)
            if not found.missed:
                return found
            missed = (*found.missed[1:], found.now)
            return module.Due(missed, found.unlisted, found.missed[0], found.too_late)
        module.due = due
        """,
        "an old time was made up for, not the last one",
    ),
    "every call runs a shift": (
        missed_schedule.DRILL, "nightcrew.schedule.firing",
        """
        real = module.Firer.fire
        module.Firer.fire = lambda self, name: real(self, name) or [self.run_now(name)]
        """,
        "a further call ran it again although nothing was due",
    ),
    "an alert never ends": (
        missed_schedule.DRILL, "nightcrew.store.alerts",
        "module.resolve = lambda tx, alert, **_: module.get(tx, alert)",
        "the alert goes on firing although the schedule has run",
    ),
    "a damaged backup is taken": (
        restore_from_backup.DRILL, "nightcrew.crew.carried",
        """
        from datetime import UTC, datetime
        module.restore = lambda *_: module.Carried(1, 1, 1, datetime.now(UTC))
        """,
        "a backup with a changed bit was restored as if it were whole; ",
    ),
    "a damaged backup breaks the restore": (
        restore_from_backup.DRILL, "nightcrew.crew.carried",
        "module.unseal = lambda *_: 1 / 0",
        "a backup with a changed bit was not refused, the restore broke",
    ),
    "no ticket can be filed": (
        restore_from_backup.DRILL, "nightcrew.store.tickets", "module.add = lambda *_, **__: 1 / 0",
        "no ticket can be filed in what was restored",
    ),
}  # fmt: skip


@storm
@pytest.mark.parametrize("name", list(BROKEN))
def test_whatever_is_expected_and_does_not_happen_fails_its_drill(place: LocalPlace, tmp_path: Path, name: str) -> None:
    drill, module, code, said = BROKEN[name]
    assert said in failed(drill, broken(place, tmp_path, module, code))


@storm
def test_dead_channel_that_no_alert_names_and_alerts_that_are_given_up_are_noticed(
    place: LocalPlace, tmp_path: Path
) -> None:
    now = settings.load(place.root)
    settings.save(place.root, {**now, "channel": now["channel"][:1], "alerts": {"disabled": ["channel-dead"]}})
    code = "module.again = lambda tx, number, *, at, attempts, problem: module.give_up(tx, number, 'failed', problem)"
    said = failed(dead_alert_channel.DRILL, broken(place, tmp_path, "nightcrew.store.alert_messages", code))
    assert "no alert says that chat is dead" in said
    assert "was given up at once, without a second try" in said
    assert "came 0 times when chat answered again, not once" in said


def test_escalation_is_no_second_message(place: LocalPlace) -> None:
    at_once = {"escalate_after": 0.001, "escalate_to": ["pager"], "also": []}
    settings.save(place.root, {**settings.load(place.root), "alerts": at_once})
    dead_alert_channel._Channels(place).point({"chat": 1})
    assert settings.load(place.root)["alerts"] == {"also": []}


# Second worker ------------------------------------------------------------------------------------------------------


@pytest.mark.sabotages("second_worker_crew")
def test_second_shift_that_is_let_in_beside_the_first_is_noticed(place: LocalPlace, tmp_path: Path) -> None:
    # Two locks keep it out: the lease of the shift in the store, and the kernel's on the engine's file.
    (tmp_path / "sitecustomize.py").write_text(
        "from nightcrew.engine.lockfile import LockFile\nfrom nightcrew.store import locks\n"
        "locks._is_gone = lambda held: True\nLockFile.acquire = lambda self: None\n"
    )
    place = replace(place, environment={**place.environment, "PYTHONPATH": str(tmp_path)})
    said = failed(second_worker_crew.DRILL, place)
    assert "two workers had the same tickets" in said or "it broke" in said


APP = """
    from pydantic import BaseModel

    import nightcrew as nc


    class Payment(BaseModel):
        id: str
        amount: float


    pay = nc.Pipeline("payments", record=Payment, key="id")


    @pay.step
    def score(payment: Payment) -> nc.Prediction:
        return nc.Prediction(payment.amount, confidence=0.9)
"""

KEPT_LOCK = """
    taken = module.LockFile.acquire
    def acquire(self):
        if self.path.exists() and self.path.read_text().strip():
            raise module.BusyError(f"{self.path} is there")
        taken(self)
    module.LockFile.acquire = acquire
"""
"""A lock that is a file's being there, not the kernel's: a process that dies keeps it."""


@pytest.mark.sabotages("second_worker")
@pytest.mark.parametrize("sabotaged", [False, True], ids=["as-it-is", "dead-worker-keeps-its-lock"])
def test_worker_that_dies_is_taken_over_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sabotaged: bool) -> None:
    folder, records = tmp_path / "app", tmp_path / "records.jsonl"
    folder.mkdir()
    (folder / "app.py").write_text(dedent(APP))
    records.write_text("".join(json.dumps({"id": f"p{number}", "amount": number}) + "\n" for number in range(8)))
    monkeypatch.setenv("NIGHTCREW_CONFIG_DIR", str(tmp_path / "config"))
    if sabotaged:
        (tmp_path / "sabotage").mkdir()
        hook(tmp_path / "sabotage", "nightcrew.engine.lockfile", KEPT_LOCK)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "sabotage"))
    target = resolve(f"{folder / 'app.py'}:pay", folder)
    assert isinstance(target, PipelineTarget)
    result = running.run(second_worker.DRILL, target, given=Given(input=records), seconds=90)
    if sabotaged:
        assert result.outcome == "failed", result.happened
        assert "after the death of the worker the run does not go on" in result.happened
    else:
        assert result.outcome == "passed", result.happened
        assert result.evidence["outcomes"] == {"accepted": 8}
