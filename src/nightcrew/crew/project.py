"""A repository prepared for the crew: where its state lies, its settings, its playbook, who may decide."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from nightcrew.approvals import ServiceSigner, TrustAnchor, service_signer
from nightcrew.approvals.service import sealing_key
from nightcrew.crew.workspace import Git, RepositoryState, inspect, root_of
from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import ConfigurationError, DocumentError, RepositoryError
from nightcrew.model.playbook import Playbook, playbook_digest
from nightcrew.model.playbook import parse as parse_playbook
from nightcrew.model.settings import Settings
from nightcrew.monitoring.alerts import configured
from nightcrew.monitoring.alerts.configured import SETTINGS_FILE
from nightcrew.store import ledger
from nightcrew.store.store import Store

if TYPE_CHECKING:
    from nightcrew.crew.measuring import Measures

STATE = ".nightcrew"
MAX_TEXT = 1_000_000


@dataclass
class Project:
    """An opened repository.

    ``root`` is the user's tree, ``state_dir`` its ``.nightcrew``, ``work_dir`` where workspaces, environments and
    caches lie: outside the repository, so that no tool in a workspace finds the user's configuration in a parent.
    """

    root: Path
    state_dir: Path
    work_dir: Path
    settings: Settings
    playbook: Playbook
    playbook_sha256: str
    playbook_text: str
    anchor: TrustAnchor
    clock: Clock

    @cached_property
    def service(self) -> ServiceSigner:
        """Nightcrew's own signer."""
        return service_signer(self.anchor.directory)

    @cached_property
    def store(self) -> Store:
        """The state database, opened."""
        return Store(self.database_url, seal_key=sealing_key(self.service), clock=self.clock)

    @cached_property
    def measures(self) -> "Measures":
        """What this process measures."""
        from nightcrew.crew.measuring import Measures

        return Measures(self.store, self.clock)

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the state database."""
        return self.settings.database_url or f"sqlite:///{self.state_dir / 'nightcrew.db'}"

    @cached_property
    def repository_id(self) -> str:
        """The id of this repository in the trust anchor: the hash of its ledger's first entry.

        Raises IntegrityError if the ledger is another one than what was known of the repository at this path: the
        database says itself which it holds, so another repository's, with the reviewers of that, would pass as its own.
        """
        with self.store.read() as tx:
            genesis = ledger.genesis(tx)
        if genesis is None:
            raise ConfigurationError("the ledger has no beginning", hint="Run: nightcrew init")
        # A path that is not known yet is that of a repository that was moved, or prepared by an earlier release.
        if not self.anchor.roots().check(self.root, genesis) and self.anchor.ledger(genesis).read() is not None:
            self.anchor.roots().pin(self.root, genesis)
        return genesis

    @cached_property
    def git(self) -> Git:
        """Nightcrew's own git on the user's repository."""
        return Git(self.root)

    def repository(self) -> RepositoryState:
        """The repository as it is now; raises RepositoryError if it cannot be worked."""
        return inspect(self.root)

    def check_ledger(self) -> None:
        """Raises IntegrityError if the ledger is older than, or differs from, what was last seen of it."""
        from nightcrew.pipeline import pinned  # Its package loads what runs records: no read command needs it.

        pinned.check(self.store, self.anchor.ledger(self.repository_id))

    def verify_ledger(self) -> None:
        """As ``check_ledger``, and every entry is in its place in the chain, under nightcrew's seal."""
        from nightcrew.pipeline import pinned

        pinned.verify(self.store, self.anchor.ledger(self.repository_id))

    def pin_ledger(self) -> None:
        """Remember the ledger's head outside the reach of agents.

        Raises IntegrityError, and the head seen before stays, if that is not in the ledger any more or what follows it
        is not a chain under nightcrew's seal.
        """
        from nightcrew.pipeline.pinned import continued

        self.anchor.ledger(self.repository_id).follow(continued(self.store))

    def close(self) -> None:
        """Let go of the database."""
        if "store" in self.__dict__:
            self.store.close()


def find_root(start: Path) -> Path:
    """The top of the working tree that ``start`` lies in; raises RepositoryError (not a repository, bare)."""
    return root_of(start)


def open_project(start: Path, *, clock: Clock = system_clock, anchor: TrustAnchor | None = None) -> Project:
    """Open the repository around ``start``; raises ConfigurationError if ``nightcrew init`` has not prepared it."""
    project = load_project(find_root(start), clock=clock, anchor=anchor)
    if not project.settings.database_url and not (project.state_dir / "nightcrew.db").exists():
        raise ConfigurationError(f"{project.root} is not prepared for the crew", hint="Run: nightcrew init")
    return project


def load_project(root: Path, *, clock: Clock = system_clock, anchor: TrustAnchor | None = None) -> Project:
    """Read settings and playbook of ``root`` without opening its database. Raises DocumentError for a damaged file."""
    state_dir = root / STATE
    anchor = anchor or TrustAnchor.of_user()
    anchor.require_outside(root)
    text = read_text(state_dir / "playbook.md") or default_playbook()
    playbook, _ = parse_playbook(text, source=f"{STATE}/playbook.md")
    return Project(
        root=root,
        state_dir=state_dir,
        work_dir=work_directory(root),
        settings=read_settings(root),
        playbook=playbook,
        playbook_sha256=playbook_digest(text),
        playbook_text=text,
        anchor=anchor,
        clock=clock,
    )


def read_settings(root: Path) -> Settings:
    """The settings in ``nightcrew.toml``, or the defaults if there is none; raises DocumentError."""
    return configured.read_settings(root / SETTINGS_FILE)


def default_playbook() -> str:
    """The text of the playbook that ``init`` writes."""
    return resources.files("nightcrew.model").joinpath("default_playbook.md").read_text(encoding="utf-8")


def work_directory(root: Path) -> Path:
    """Where the workspaces of ``root`` lie: under ``$XDG_STATE_HOME/nightcrew`` (default ``~/.local/state``)."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    base = Path(chosen) if chosen and Path(chosen).is_absolute() else Path.home() / ".local" / "state"
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return base / "nightcrew" / f"{root.name}-{name}"


def read_text(path: Path) -> str | None:
    """A small text file, or None if there is none; raises DocumentError if it is not UTF-8 text or too large."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_TEXT:
        raise DocumentError(f"{path.name}: larger than {MAX_TEXT} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path.name}: not UTF-8 at byte {error.start}") from None
