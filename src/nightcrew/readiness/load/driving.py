"""In the child: drive the pipeline with records that arrive at a rate, and write down what was seen at each rate."""

import asyncio
import contextlib
import functools
import inspect
import json
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.model.errors import UsageError
from nightcrew.pipeline.chain import Step as PipelineStep
from nightcrew.pipeline.sources import Malformed, Source, open_source
from nightcrew.readiness.drills.injecting import guard_of, put
from nightcrew.readiness.drills.standing_in import NoAnswer, answering
from nightcrew.readiness.load.arrivals import Arrivals, Awaited, Over, SeenChain, Waiting
from nightcrew.readiness.load.curve import FEWEST, Climb, Plan, Step

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_SAMPLE = 10_000
_PROBED = 6


def drive(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Go through the rates of ``plan`` with the records of ``input``, over and over.

    ``steps`` gets a line that says what it is about, and one for each step. ``network``: the steps may reach it, and
    nothing stands in for them; else one that cannot answer without it is stood in for, by something that takes
    ``stand_in_seconds``. Raises UsageError if there is no record, or no time for the first rate.
    """
    source = open_source(spec["input"])
    if not isinstance(source, Source):
        raise UsageError("the input is no file of records")
    records = [raw for _, raw in islice(source.read(), _SAMPLE)]
    if not records:
        raise UsageError("the input holds no record", hint="Give a sample of what comes: --input FILE")
    stood_in = [] if spec["network"] else _stand_in(pipeline, records, spec["stand_in_seconds"])
    plan = Plan(**spec["plan"])
    climb = Climb(plan, pipeline.commit_seconds)
    if (needed := climb.length(plan.rate)) > plan.total:
        raise UsageError(
            f"{plan.rate:g} records a second need {needed:.0f} s, and there are {plan.total:.0f} s in all",
            hint=f"Give --total {2 * needed:.0f}, or a higher rate: at least {FEWEST} records come at each",
        )
    one_by_one = pipeline.limits.concurrency == 1 and not pipeline.chain.is_async
    about = {
        "stood_in": "; ".join(stood_in), "sample": len(records), "concurrency": pipeline.limits.concurrency,
        "commit_seconds": pipeline.commit_seconds,
    }  # fmt: skip
    with Path(spec["steps"]).open("a", buffering=1) as steps:
        steps.write(json.dumps({"about": about}) + "\n")

        def told(step: Step) -> None:
            steps.write(json.dumps(step.plain()) + "\n")

        arrivals = Arrivals(records, plan, climb, told, fills=one_by_one)
        # Each arrival is a record of its own, however often the sample is gone through: it is named by its position.
        pipeline.key = None
        pipeline.__dict__["chain"] = SeenChain(pipeline.chain.stages, arrivals)
        arriving: Any = Waiting(arrivals) if one_by_one else Awaited(arrivals)
        with contextlib.suppress(Over):
            pipeline.run(arriving, max_rejected=1.0)
    return {**about, "limit": climb.limit, "ended_by": arrivals.ended_by}


def _stand_in(pipeline: "Pipeline", records: list[Any], seconds: float) -> list[str]:
    """Put something that answers into each step that cannot answer here; gives what, in words."""
    values = _parsed(pipeline, records)
    parsed = list(values)
    said = []
    for step in (stage for stage in pipeline.chain.stages if isinstance(stage, PipelineStep)):
        given = [(one, value) if step.takes_both else (value,) for one, value in zip(parsed, values, strict=True)]
        try:
            found = answering(step, given)
        except NoAnswer as reason:
            raise UsageError(
                str(reason), hint="Give the step a fallback, or let it reach the network: --network"
            ) from None
        if found.stood_in:
            original = guard_of(step)._function
            put(step, _slowly(found.function, seconds, as_async=inspect.iscoroutinefunction(original)), None)
            said.append(f"{found.stood_in}, in {seconds:g} s" if seconds else found.stood_in)
        parsed = [one for one, fits in zip(parsed, found.fits, strict=True) if fits]
        values = [one for one, fits in zip(found.values, found.fits, strict=True) if fits]
    return said


def _parsed(pipeline: "Pipeline", records: list[Any]) -> list[Any]:
    """The first records that fit the contract."""
    found: list[Any] = []
    contract = pipeline.contract
    for raw in records:
        if isinstance(raw, Malformed) or len(found) >= _PROBED:
            continue
        try:
            value = json.loads(raw) if isinstance(raw, bytes) else raw
            found.append(value if contract is None else contract.validate(value))
        except Exception:  # noqa: S112 - what does not fit is no business of a probe
            continue
    if not found:
        raise UsageError("no record of the input fits the pipeline's contract", hint="Give others with --input FILE")
    return found


def _slowly(function: Callable[..., Any], seconds: float, *, as_async: bool) -> Callable[..., Any]:
    if not seconds:
        return function
    if as_async:

        @functools.wraps(function)
        async def slow(*args: Any) -> Any:
            await asyncio.sleep(seconds)
            return await function(*args)

        return slow

    @functools.wraps(function)
    def slow_too(*args: Any) -> Any:
        time.sleep(seconds)
        return function(*args)

    return slow_too
