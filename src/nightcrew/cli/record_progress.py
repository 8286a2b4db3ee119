"""Progress of a run of records on standard error: a bar with rate and time left, or a line every ten seconds."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nightcrew.cli.output import OPTIONS

if TYPE_CHECKING:
    from nightcrew.pipeline.summary import ProgressReport

_LINE_SECONDS = 10.0


class Bar:
    """Shows how far a run is; silent with ``--json`` and ``--log-json``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None
        self._task: Any = None
        self._told = time.monotonic()

    def __call__(self, now: "ProgressReport") -> None:
        """Show ``now``."""
        if OPTIONS.json or OPTIONS.log_json:
            return
        if self._bar is not None:
            self._bar.update(
                self._task, total=now.total, completed=now.position, seen=f"{now.seen:,} records",
                rate=f"{now.rate:,.0f}/s", left=_duration(now.eta),
            )  # fmt: skip
        elif time.monotonic() - self._told >= _LINE_SECONDS:
            self._told = time.monotonic()
            left = f", {_duration(now.eta)} left" if now.eta is not None else ""
            sys.stderr.write(f"{self._name}: {now.seen:,} records, {now.rate:,.0f} a second{left}\n")

    def __enter__(self) -> Self:
        """Begin: in a terminal with a live bar."""
        if sys.stderr.isatty() and not (OPTIONS.json or OPTIONS.log_json):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.fields[seen]}"), TextColumn("{task.fields[rate]}"))
            left = TextColumn("{task.fields[left]} left")
            console = Console(stderr=True)
            self._bar = Progress(TextColumn(self._name), BarColumn(), *columns, left, console=console, transient=True)
            self._task = self._bar.add_task(self._name, total=None, seen="0 records", rate="", left="?")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
