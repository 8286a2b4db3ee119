"""What the drills of pipelines have in common: asking the child, choosing steps, and saying what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.drills.protocol import NotApplicable, Observed, Place
from nightcrew.readiness.drills.samples import COUNT, offered

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline
    from nightcrew.readiness.drills.bench import Bench

Facts = Mapping[str, Any]
ANSWERED = frozenset({"accepted", "fallback"})
_SHOWN = 3


def asked(place: Place, function: str, count: int = COUNT) -> dict[str, Any]:
    """What ``package.module:function`` of nightcrew gives in the child; ``count``: records that it may choose from.

    Raises NotApplicable where it says so.
    """
    spec = {
        "samples": offered(place, count), "scratch": str(place.scratch), "root": str(place.root),
        "entry": str(getattr(place.target, "path", "")),
    }  # fmt: skip
    answer: dict[str, Any] = place.child(function, spec)
    if answer.get("not"):
        raise NotApplicable(answer["not"])
    return answer


def on_bench(
    pipeline: "Pipeline", spec: Facts, work: Callable[["Bench"], dict[str, Any]], wanted: int = 6
) -> dict[str, Any]:
    """In the child: ``work`` on a bench of the pipeline, or why there can be none."""
    from nightcrew.readiness.drills.bench import Bench
    from nightcrew.readiness.drills.standing_in import NoAnswer

    try:
        bench = Bench(pipeline, spec, wanted=wanted)
        return {**work(bench), "stood_in": bench.stood_in}
    except NoAnswer as reason:
        return {"not": str(reason)}


def chosen(bench: "Bench", wanted: Callable[[Facts], bool]) -> list[Any]:
    """The steps that ``wanted`` says yes to; all, if there is none."""
    return [step for step in bench.steps if wanted(bench.facts(step))] or list(bench.steps)


def is_critical(facts: Facts) -> bool:
    """Whether a step asks a model, or is declared with a fallback: somebody waits for its answer."""
    return bool(facts["fallbacks"]) or any(call["kind"] in ("model", "prediction") for call in facts["calls"])


def judged(
    answer: Facts, wrong: Sequence[str], right: str, *, detected: float | None = None, recovered: float | None = None
) -> Observed:
    """What was seen: what is ``wrong``, the first of it, else ``right``."""
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    happened = "; ".join(wrong[:_SHOWN]) + more if wrong else right
    evidence = {name: value for name, value in answer.items() if name != "stood_in"}
    return Observed(not wrong, happened, detected, recovered, evidence, str(answer.get("stood_in", "")))


def unaccounted(name: str, done: Facts, what: str = "records") -> list[str]:
    """What is wrong with a run before anything else is looked at: it broke, or lost records."""
    if done["error"]:
        return [f"{name}: the run broke: {done['error']['message']}"]
    missing = done["records"] - len(done["outcomes"])
    if missing > 0:
        return [f"{name}: {missing} of {done['records']} {what} have no outcome at all: they are lost"]
    if not done["adds_up"]:
        return [f"{name}: the run's numbers do not add up to the {done['records']} records that it read"]
    return []


def in_state(outcomes: Sequence[Facts], *states: str) -> list[Facts]:
    """The outcomes in one of these states."""
    return [one for one in outcomes if one["state"] in states]


def shortened(text: str, characters: int = 240) -> str:
    """A text that is cut where it is too long for a sentence."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def longest(seen: Sequence[Facts], name: str) -> float | None:
    """The longest of the times called ``name``."""
    times = [one[name] for one in seen if one.get(name) is not None]
    return max(times, default=None)


def brief(done: Facts) -> dict[str, Any]:
    """A run as it is kept as evidence: how many records came to what, and one failure of each class."""
    states: dict[str, int] = {}
    failures: dict[str, str] = {}
    for one in done["outcomes"]:
        states[one["state"]] = states.get(one["state"], 0) + 1
        if one["kind"]:
            failures.setdefault(one["kind"], str(one["message"])[:200])
    return {"records": done["records"], "states": states, "failures": failures, "seconds": round(done["seconds"], 3)}
