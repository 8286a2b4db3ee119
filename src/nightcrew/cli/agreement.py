"""How ``nightcrew inbox stats`` looks."""

from nightcrew.cli.output import say, table
from nightcrew.crew.agreement import Agreement, Stats


def tell(found: Stats) -> None:
    """Print the statistics of decisions."""
    if not found.n:
        say("Nobody has decided a review yet.")
        return
    headings = ("decisions", "agreed", "95 %", "median", "90 %")
    table(("agent", *headings), map(_row, found.agents), empty="")
    say()
    table(("rule", *headings), map(_row, found.rules), empty="")
    say()
    rows = [(f"{one.threshold:.2f}", one.accepted, one.wrong) for one in found.thresholds if one.accepted]
    table(("confidence from", "decisions", "of them no findings"), rows, empty="No finding had a confidence.")
    say(found.calibration.reason)


def _row(one: Agreement) -> tuple[object, ...]:
    interval = f"{one.low:.0%} to {one.high:.0%}"
    return one.name, one.n, f"{one.share:.0%}", interval, _hours(one.median_hours), _hours(one.p90_hours)


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h"
