"""One commit a record, by hand: what durability costs where it is not grouped."""

from pathlib import Path
from typing import Any

from bench.peers import floor


def run(records: list[dict[str, Any]], directory: Path) -> int:
    return floor.run(records, directory, batch=1)
