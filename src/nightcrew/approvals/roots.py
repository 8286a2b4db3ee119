"""Which ledger belongs to the repository at which path, so that the database of another one does not pass as its own.

The database says itself which ledger it holds, and an agent may be able to write, or to exchange, that file. So the
first entry's hash is kept here beside the path of the repository, from its ``nightcrew init`` on.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from nightcrew.approvals import private_files
from nightcrew.model.document import Document
from nightcrew.model.errors import ConfigurationError, DocumentError, IntegrityError
from nightcrew.model.statement import Sha256, read_json


class Roots(Document):
    """The hash of the first entry of the ledger, by the resolved path of the repository's root."""

    format: Literal["nightcrew-roots-v1"] = "nightcrew-roots-v1"
    roots: dict[str, Sha256] = Field(default_factory=dict)


class RootPins:
    """``roots.json`` in the trust directory."""

    def __init__(self, trust: Path) -> None:
        self._trust = trust
        self.path = trust / "roots.json"

    def of(self, root: Path) -> str | None:
        """The ledger of the repository at ``root``, None if none is known; raises IntegrityError if damaged."""
        return self._read().get(_name(root))

    def check(self, root: Path, genesis: str) -> bool:
        """Whether a ledger is known for ``root``; raises IntegrityError if that is another one than ``genesis``."""
        known = self.of(root)
        if known is not None and known != genesis:
            raise self.another(root, f"a ledger that begins with {genesis[:16]}", known)
        return known is not None

    def pin(self, root: Path, genesis: str) -> None:
        """Remember that ``genesis`` is the ledger of the repository at ``root``; raises as ``check``."""
        private_files.ensure_directory(self._trust)
        with private_files.lock(self._trust):
            if self.check(root, genesis):
                return
            roots = Roots(roots={**self._read(), _name(root): genesis})
            # A line each, for the person who has to take one out.
            data = json.dumps(roots.plain(), indent=1, sort_keys=True).encode() + b"\n"
            if len(data) > private_files.MAX_BYTES:
                raise ConfigurationError(f"{self.path} is full", hint="Take out the lines of paths that are gone.")
            private_files.replace(self.path, data)

    def another(self, root: Path, found: str, known: str) -> IntegrityError:
        """The error for a repository at ``root`` that has ``found``, where ``known`` is expected."""
        return IntegrityError(
            f"{root} has {found}, but its own begins with {known[:16]}, says {self.path}: the database was exchanged",
            hint="If you replaced, restored or moved it yourself, take the line of this path out of that file and run "
            "nightcrew init. If not, find out who did, and restore the state from a backup.",
        )

    def _read(self) -> dict[str, str]:
        source = str(self.path)
        try:
            return Roots.read(read_json(private_files.read(self.path), source=source), source=source).roots
        except FileNotFoundError:
            return {}
        except DocumentError as error:
            raise IntegrityError(
                str(error),
                hint="Restore the file from a backup, or remove it and run nightcrew init again.",
            ) from None


def _name(root: Path) -> str:
    """The resolved path; as a ``file:`` URI if its bytes are no text."""
    resolved = root.resolve()
    try:
        str(resolved).encode()
    except UnicodeEncodeError:
        return resolved.as_uri()
    return str(resolved)
