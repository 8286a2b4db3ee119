"""Progress of a shift on standard error: one live line in a terminal, one line a change elsewhere."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nightcrew.cli.output import OPTIONS, clean

if TYPE_CHECKING:
    from nightcrew.crew.night import Progress


class Follower:
    """Shows which agent works which ticket, turns against caps and the time; silent with ``--json``."""

    def __init__(self) -> None:
        self._last = ""
        self._live = sys.stderr.isatty() and not OPTIONS.json

    def __call__(self, now: "Progress") -> None:
        """Show ``now`` if it says something new."""
        if OPTIONS.json:
            return
        where = f"{now.agent} {now.ticket or ''}".strip() if now.agent else "router"
        turns = f"{now.used} turns (soft {now.soft}, hard {now.hard})" if now.hard else ""
        minutes, seconds = divmod(int(now.elapsed_seconds), 60)
        text = clean(f"{now.shift}  {where:<18} {turns:<28} {now.message}")
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{minutes:02d}:{seconds:02d}  {text}"[:110])
            sys.stderr.flush()
        elif text != self._last:
            sys.stderr.write(f"{minutes:02d}:{seconds:02d}  {text.rstrip()}\n")
        self._last = text

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the live line away."""
        if self._live and self._last:
            sys.stderr.write("\r\x1b[2K")
