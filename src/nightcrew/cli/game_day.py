"""nightcrew drill --game-day: what it prints."""

import sys
from typing import TYPE_CHECKING

from nightcrew.cli.output import OPTIONS, say, show_json, table

if TYPE_CHECKING:
    from nightcrew.readiness.drills.place import Given
    from nightcrew.readiness.drills.protocol import Result
    from nightcrew.readiness.target import Target

_STATUS = {"passed": 0, "failed": 1, "error": 4, "not_applicable": 4}


def hold(target: "Target", *, minutes: float, seed: int | None, given: "Given", keep: bool) -> int:
    """Hold a game day, store its result, print the report; gives the exit status. Without a seed one is drawn."""
    import secrets

    from nightcrew.readiness.drills import running
    from nightcrew.readiness.game_day.holding import hold as held

    def tell(text: str) -> None:
        if not OPTIONS.json:
            sys.stderr.write(f"  {text}\n")

    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    result = held(target, minutes=minutes, seed=chosen, given=given, keep=keep, tell=tell)
    if result.outcome != "not_applicable":
        result = running.keep_result(target, result)
    if OPTIONS.json:
        show_json(result.plain())
    else:
        _show(result, result.evidence.get("seed", chosen))
    return 130 if "interrupted" in result.evidence else _STATUS[result.outcome]


def _show(result: "Result", seed: int) -> None:
    rows = [
        (
            f"{one['at']:.0f} s", one["fault"], _seconds(one["detected"]), _seconds(one["recovered"]),
            "yes" if one["passed"] else "NO", one["injected"], one["happened"],
        )
        for one in result.evidence.get("faults", ())
    ]  # fmt: skip
    if rows:
        table(("at", "fault", "detected", "recovered", "passed", "injected", "happened"), rows, empty="")
        say()
    say(f"game day: {result.outcome.replace('_', ' ')}")
    say(f"  {result.happened}")
    if result.stood_in:
        say(f"  not the real thing: {result.stood_in}")
    if result.entry is not None:
        say(f"  evidence: entry {result.entry} of the ledger")
    say(f"  hold the same again with: --seed {seed}")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
