"""Lose the machine, and bring the crew's state back from a backup: everything is there, and everything fits."""

import contextlib
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nightcrew.crew import carried
from nightcrew.crew.project import Project
from nightcrew.location import CONFIG_DIRECTORY_VARIABLE
from nightcrew.model.errors import NightcrewError
from nightcrew.readiness.boxes import Box
from nightcrew.readiness.drills.copying import remove
from nightcrew.readiness.drills.protocol import Done, NotDone, Observed, On, Place
from nightcrew.readiness.target import CrewTarget, Target
from nightcrew.store.copying import copy_database

_COUNTED = ("tickets", "sessions", "handoffs", "findings", "reviews", "records", "ledger")
_REFUSED = 3


@dataclass(frozen=True)
class RestoreFromBackup:
    """See ``Drill``."""

    name: str = "restore-from-backup"
    title: str = "a backup of the live state can be restored, and what is restored is whole"
    boxes: tuple[Box, ...] = (Box.STATE,)
    on: frozenset[On] = frozenset({"crew"})
    injects: str = "the machine is lost: nothing is left but a backup of the live state, and a fresh clone"
    expects: str = (
        "a backup that was damaged is refused; the good one is restored, the audit finds everything in its place,"
        " nothing that was there is missing, and work goes on where it was"
    )

    def applies(self, target: Target) -> str:
        """See ``Drill``."""
        if isinstance(target, CrewTarget) and target.project.settings.database_url.startswith("postgres"):
            return "its state is in Postgres: that is backed up and restored with the tools of the server (pg_dump)"
        return ""

    def run(self, place: Place) -> Observed:
        """See ``Drill``."""
        assert isinstance(place.live, CrewTarget)  # noqa: S101 - see ``on``
        live = place.live.project
        if not (live.state_dir / "nightcrew.db").is_file():
            raise NotDone(f"{live.root} has no state to back up")
        folder = place.scratch / f"backup-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        try:
            return self._restored(place, live, folder)
        finally:
            remove(folder)  # In it are nightcrew's own keys: they are not left behind, even with --keep.

    def _restored(self, place: Place, live: Project, folder: Path) -> Observed:
        place.say("backing the live state up: it is only read")
        key, backup = secrets.token_hex(32), folder / "backup.sealed"
        try:
            was = _counted(live, folder)
            saved = carried.save(live, backup, key)
        except NightcrewError as error:
            return Observed(False, f"the live state cannot be backed up: {error}")
        home = _Home(place, _fresh_clone(live, folder, place), folder / "config", key)
        place.say("restoring it into a fresh clone, with nothing else of the old machine")
        lost = place.elapsed()
        wrong = list(home.damaged_is_refused(backup, folder))
        detected = place.elapsed() - lost
        done = home.run("state", "restore", str(backup))
        if done.status != 0:
            said = f"the backup cannot be restored: {done.tail(300)}"
            return Observed(False, "; ".join([*wrong, said]), detected, evidence={"live": was})
        wrong += home.does_not_fit()
        try:
            now = _rows(home.root / ".nightcrew" / "nightcrew.db")
        except sqlite3.Error as error:
            said = f"the restore reported success, and what it left cannot be read: {error}"
            return Observed(False, "; ".join([*wrong, said]), detected, evidence={"live": was})
        wrong += [
            f"{count - now[name]} of {count} rows of {name} are missing in what was restored"
            for name, count in was.items()
            if now[name] < count
        ]
        if not wrong:
            wrong += home.does_not_go_on()
        recovered = place.elapsed() - lost
        evidence = {"live": was, "restored": now, "bytes": saved.size, "files": saved.files, "refs": saved.refs}
        happened = "; ".join(wrong) or (
            f"the damaged backup was refused; the good one ({saved.files} files, {saved.refs} branches and other refs)"
            f" was restored in {recovered:.1f} s with {now['tickets']} tickets and {now['ledger']} ledger entries, the"
            " audit finds everything in its place, and a new ticket could be filed"
        )
        return Observed(not wrong, happened, detected, recovered, evidence)


@dataclass(frozen=True)
class _Home:
    """The new machine: a clone, and a user's configuration that has nothing in it yet."""

    place: Place
    root: Path
    config: Path
    key: str

    def run(self, *arguments: str) -> Done:
        """Run nightcrew there."""
        around = {CONFIG_DIRECTORY_VARIABLE: str(self.config), carried.KEY: self.key}
        return self.place.nightcrew("--repo", str(self.root), *arguments, env=around)

    def damaged_is_refused(self, backup: Path, folder: Path) -> Iterator[str]:
        """What is wrong if a backup with one bit changed is restored."""
        data, bad = bytearray(backup.read_bytes()), folder / "damaged.sealed"
        data[len(data) // 2] ^= 1
        bad.write_bytes(data)
        done = self.run("state", "restore", str(bad))
        if done.status == 0:
            yield "a backup with a changed bit was restored as if it were whole"
            shutil.rmtree(self.root / ".nightcrew", ignore_errors=True)
            shutil.rmtree(self.config, ignore_errors=True)
        elif done.status != _REFUSED:
            yield f"a backup with a changed bit was not refused, the restore broke: {done.tail(200)}"

    def does_not_fit(self) -> Iterator[str]:
        """What the audit finds."""
        audit = self.run("audit", "verify", "--json")
        if audit.status == 0:
            return
        try:
            broken = audit.json()["broken"]
        except (NightcrewError, KeyError, TypeError):
            yield f"the audit of what was restored cannot be made: {audit.tail(300)}"
            return
        first = "; ".join(f"{one['where']}: {one['problem']}" for one in broken[:3])
        yield f"the audit finds {len(broken)} things that do not fit in what was restored: {first}"

    def does_not_go_on(self) -> Iterator[str]:
        """What keeps work from going on."""
        added = self.run("ticket", "add", "Filed after the restore", "--json")
        if added.status != 0:
            yield f"no ticket can be filed in what was restored: {added.tail(300)}"
            return
        yield from self.does_not_fit()


def _counted(live: Project, folder: Path) -> dict[str, int]:
    """How much there is, counted in a copy of the live database that the backup has no part in."""
    copy = folder / "live.db"
    copy_database(live.state_dir / "nightcrew.db", copy)
    return _rows(copy)


def _rows(database: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _COUNTED}  # noqa: S608


def _fresh_clone(live: Project, folder: Path, place: Place) -> Path:
    """A clone of the default branch alone: nightcrew's own branches have to come out of the backup."""
    root, branch = folder / live.root.name, live.repository().default_branch
    _git(place, folder, "-c", "core.hooksPath=/dev/null", "clone", "--quiet", "--no-hardlinks", "--no-tags",
         "--single-branch", "--branch", branch, "--template=", str(live.root), str(root))  # fmt: skip
    remote = f"refs/remotes/origin/{branch}"
    if live.git.ref(remote) is not None:
        _git(place, root, "fetch", "--quiet", "--no-tags", str(live.root), f"{remote}:refs/remotes/before/{branch}")
    _git(place, root, "remote", "remove", "origin")
    return root


def _git(place: Place, folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=dict(place.environment), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=place.left(),
    )  # fmt: skip
    if done.returncode:
        raise NotDone(f"git: {done.stderr.strip()[-400:]}")


DRILL = RestoreFromBackup()
