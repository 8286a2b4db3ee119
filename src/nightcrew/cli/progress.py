"""Progress of a shift on standard error: one live line in a terminal, one line a change elsewhere."""

import shutil
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nightcrew.cli.output import OPTIONS, clean, say

if TYPE_CHECKING:
    from nightcrew.crew.night import Progress


class Follower:
    """Shows which agent works which ticket, turns against caps, the time; silent with ``--json``, ``--log-json``."""

    def __init__(self, *, only_live: bool = False) -> None:
        self._last = ""
        for_machines = OPTIONS.json or OPTIONS.log_json
        self._silent = for_machines or (only_live and not sys.stderr.isatty())
        self._live = sys.stderr.isatty() and not for_machines

    def __call__(self, now: "Progress") -> None:
        """Show ``now`` if it says something new."""
        if self._silent:
            return
        where = f"{now.agent} {now.ticket or ''}".strip() if now.agent else "router"
        turns = f"{now.used} turns (soft {now.soft}, hard {now.hard})" if now.hard else ""
        minutes, seconds = divmod(int(now.elapsed_seconds), 60)
        text = clean(f"{now.shift}  {where:<18} {turns:<28} {now.message}").replace("\n", " ")
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{minutes:02d}:{seconds:02d}  {text}"[: self._width()])
            sys.stderr.flush()
        elif text != self._last:
            sys.stderr.write(f"{minutes:02d}:{seconds:02d}  {text.rstrip()}\n")
        self._last = text

    def say(self, text: str) -> None:
        """Print a line for people on standard output, above the live line."""
        self._clear()
        say(text)
        sys.stdout.flush()

    def quiet(self, text: str) -> None:
        """Take a line for people that nobody asked for."""

    def _width(self) -> int:
        """Characters to write at most: what is longer than a line of the terminal would stay there."""
        return shutil.get_terminal_size().columns - 1 + len("\r\x1b[2K")

    def _clear(self) -> None:
        if self._live and self._last:
            sys.stderr.write("\r\x1b[2K")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the live line away."""
        self._clear()
