"""What the records of a run look like against those of the run before: seen by sampling, reported before a flood."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightcrew.pipeline.fields import FieldChange, FieldWatch
from nightcrew.reliability import Contract
from nightcrew.store import runs
from nightcrew.store.store import Tx

_FIRST = 1000
_EVERY = 64


@dataclass
class Watching:
    """Looks at the first thousand raw records and then at every 64th."""

    fields: FieldWatch
    learned: bool = False
    count: int = 0

    @classmethod
    def of(cls, stored: str | None, contract: Contract | None) -> "Watching":
        """With the schema of the run before as the reference, else the contract's names, else what comes first."""
        if stored is not None:
            return cls(FieldWatch.from_json(stored), learned=True)
        names = None if contract is None else contract.field_names
        return cls(FieldWatch() if names is None else FieldWatch.of_names(names))

    def see(self, raw: Any) -> None:
        """Look at a raw record, if it is one to be sampled. What cannot be read is the contract's business."""
        self.count += 1
        if self.count > _FIRST and self.count % _EVERY:
            return
        if isinstance(raw, bytes):
            try:
                raw = json.loads(raw)
            except (ValueError, RecursionError):
                return
        if isinstance(raw, Mapping):
            self.fields.see(dict(raw))

    def changes(self) -> list[FieldChange]:
        """What differs from the reference."""
        return list(self.fields.changes())

    def drift(self) -> list[FieldChange] | None:
        """What differs from an earlier run; None if there was none, or nothing was seen in this one."""
        return self.changes() if self.learned and self.fields.seen else None

    def save(self, tx: Tx, pipeline: int) -> None:
        """Keep what was seen as the reference for the next run."""
        runs.note_fields(tx, pipeline, self.fields.to_json())
