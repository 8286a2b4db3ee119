"""Results of checks on one commit, kept: the same commit is base of many changes and need not be checked again.

The cache lies beside the workspaces, where no sandbox reaches. What is kept is only what was truly checked.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from nightcrew import __version__
from nightcrew.crew.desk import Desk
from nightcrew.crew.published import write_atomically
from nightcrew.model.canonical import digest

T = TypeVar("T")


def remembered(desk: Desk, what: str, commit: str, kind: Any, make: Callable[[], T], *, keep: Callable[[T], bool]) -> T:
    """The result of check ``what`` on ``commit``, from the cache or made now; kept if ``keep`` says it may be.

    ``kind`` is its type. Settings and version are part of the key: changed ones check again.
    """
    path = _path(desk, what, commit)
    adapter: TypeAdapter[T] = TypeAdapter(kind)
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        made = make()
    if keep(made):
        write_atomically(path, adapter.dump_json(made))
    return made


def _path(desk: Desk, what: str, commit: str) -> Path:
    settings = desk.project.settings
    scanners = [scanner.plain() for scanner in settings.scanner]
    key = digest([what, commit, settings.checks.plain(), scanners, __version__])[:32]
    return desk.project.work_dir / "cache" / key[:2] / f"{key}.json"
