"""Where a pipeline's durable state lies: the state of the repository around it, or a folder of its own."""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nightcrew.approvals import TrustAnchor, service_signer
from nightcrew.approvals.service import sealing_key
from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.model.errors import ConfigurationError, DocumentError
from nightcrew.pipeline import pinned
from nightcrew.store import ledger
from nightcrew.store.connection import is_sqlite, sqlite_path
from nightcrew.store.store import Store

if TYPE_CHECKING:
    from nightcrew.monitoring.metrics import Recorder

STATE = ".nightcrew"
_IGNORE = "# Written by nightcrew: everything here is this machine's own state.\n*\n"


@dataclass
class State:
    """A state folder and its database, opened at first use."""

    directory: Path
    database_url: str
    anchor: TrustAnchor
    clock: Clock = system_clock

    @cached_property
    def store(self) -> Store:
        """The database; made, with the first entry of its ledger, if it is new."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.directory / ".gitignore").exists():
            (self.directory / ".gitignore").write_text(_IGNORE)
        key = sealing_key(service_signer(self.anchor.directory))
        store = Store(self.database_url, seal_key=key, clock=self.clock)
        with store.begin() as tx:
            if ledger.head(tx) is None:
                data = {"repository": self.directory.resolve().parent.name, "created": isoformat(self.clock())}
                ledger.append(tx, actor="nightcrew", action="genesis", subject="ledger:1", data=data)
        return store

    def exists(self) -> bool:
        """Whether something was stored here before."""
        return not self.on_sqlite or sqlite_path(self.database_url).exists()

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is SQLite; else it is Postgres."""
        return is_sqlite(self.database_url)

    @cached_property
    def recorder(self) -> "Recorder":
        """Where this process keeps its measures until they are written."""
        from nightcrew.monitoring.metrics import Recorder

        return Recorder(self.clock)

    @cached_property
    def repository_id(self) -> str:
        """The hash of the ledger's first entry: what the trust anchor calls this state."""
        with self.store.read() as tx:
            found = ledger.genesis(tx)
        if found is None:
            raise ConfigurationError(f"the ledger in {self.directory} has no beginning")
        return found

    def pin(self) -> None:
        """Remember the ledger's head outside the reach of whatever writes the database.

        Raises IntegrityError if the ledger does not go on from what was seen of it before.
        """
        pin = self.anchor.ledger(self.repository_id)
        pin.begin(self.repository_id)
        pin.follow(pinned.continued(self.store))

    def check_ledger(self) -> None:
        """Raises IntegrityError if the ledger is older than, or differs from, what was last seen of it."""
        pinned.check(self.store, self.anchor.ledger(self.repository_id))

    def verify_ledger(self) -> None:
        """As ``check_ledger``, and every entry is in its place in the chain, under nightcrew's seal."""
        pinned.verify(self.store, self.anchor.ledger(self.repository_id))

    def close(self) -> None:
        """Let go of the database."""
        if "store" in self.__dict__:
            self.store.close()


def find_state(
    start: Path | None = None,
    *,
    database_url: str | None = None,
    anchor: TrustAnchor | None = None,
    clock: Clock = system_clock,
) -> State:
    """The state for work in ``start`` (default: the current directory).

    The nearest ``.nightcrew`` in it or above it, else a new one in it. ``database_url`` (default: what
    ``nightcrew.toml`` beside the folder says, else SQLite in the folder) names the database. Raises DocumentError for a
    damaged ``nightcrew.toml``.
    """
    here = (start or Path.cwd()).resolve()
    found = next((place / STATE for place in (here, *here.parents) if (place / STATE).is_dir()), here / STATE)
    url = database_url or _configured(found.parent / "nightcrew.toml") or f"sqlite:///{found / 'nightcrew.db'}"
    return State(found, url, anchor or TrustAnchor.of_user(), clock)


def _configured(settings: Path) -> str | None:
    try:
        value = tomllib.loads(settings.read_text(encoding="utf-8")).get("database_url")
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DocumentError(f"{settings.name}: not TOML: {error}") from None
    return value if isinstance(value, str) else None
