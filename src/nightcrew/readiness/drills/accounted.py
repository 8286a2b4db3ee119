"""What a run that was broken off and run again must come to: every record once, every result delivered once."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.drills.protocol import NotApplicable, Observed, Place
from nightcrew.readiness.drills.samples import COUNT, known, offered
from nightcrew.readiness.target import PipelineTarget

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

_FEWEST = 4
_DESCRIBED = "nightcrew.readiness.drills.accounted:described"


def prepared(place: Place) -> tuple[list[Any], dict[str, Any]]:
    """Records for a run that has a middle, and the ``spec`` of ``supervising`` for it. Raises NotApplicable."""
    assert isinstance(place.target, PipelineTarget)  # noqa: S101 - those who call this are about pipelines
    about = place.child(_DESCRIBED, {"samples": offered(place, COUNT), "count": COUNT})
    records = about["records"]
    if len(records) < _FEWEST:
        raise NotApplicable(
            f"there are {len(records)} records to drill with, and a run needs {_FEWEST} to have a middle:"
            " give some with --input FILE"
        )
    folder = place.scratch
    (folder / "input.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    spec = {
        "input": str(folder / "input.jsonl"), "sink": str(folder / "sink.jsonl"), "calls": str(folder / "calls"),
        "held": str(folder / "held"), "go": str(folder / "go"), "hold_at": max(2, len(records) // 2),
        "target": place.target.spec, "pipeline": about["name"], "state": str(place.root), "seconds": place.left() / 2,
    }  # fmt: skip
    return records, spec


def described(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: what the pipeline calls itself, and records for it."""
    return {"name": pipeline.name, "records": known(pipeline, spec)}


def judged(records: Sequence[Any], seen: Mapping[str, Any], *, broken_off: str) -> Observed:
    """What is wrong after the second run, if anything; ``broken_off`` says in a word what ended the first: a kill."""
    if "error" in seen["second"]:
        said = f"after the {broken_off} the run does not go on: {seen['second']['error']}"
        return Observed(False, said, evidence=dict(seen))
    wrong = [*_lost(records, seen, broken_off), *_doubled(seen), *seen["after"]["problems"][:3]]
    kept, found = seen["before"]["outcomes"], seen["after"]["outcomes"]
    repeated = set(seen["called"]) & set(seen["called_again"])
    evidence = {
        "records": len(records), "stored_before": len(kept), "worked_before": len(seen["called"]),
        "worked_again": len(repeated), "outcomes": dict(Counter(found.values())), "delivered": len(seen["delivered"]),
    }  # fmt: skip
    happened = "; ".join(wrong) or (
        f"of {len(records)} records {len(kept)} were stored at the {broken_off}; the second run worked the others"
        f" ({len(repeated)} of them again), and each has one outcome"
    )
    return Observed(not wrong, happened, None, seen["seconds"], evidence)


def _lost(records: Sequence[Any], seen: Mapping[str, Any], broken_off: str) -> list[str]:
    kept, found, summary = seen["before"]["outcomes"], seen["after"]["outcomes"], seen["second"]["answer"]
    wrong = [] if kept else [f"nothing that was worked before the {broken_off} was in the store after it"]
    if lost := sorted(set(kept) - set(found)):
        wrong.append(f"{len(lost)} outcomes that were stored before the {broken_off} are gone, such as {lost[0]}")
    missing = len(records) - len(found) - int(summary.get("repeated", 0))
    if missing > 0:
        wrong.append(f"{missing} of {len(records)} records have no outcome")
    if not summary.get("adds_up", False):
        wrong.append("the run's numbers do not add up to the records that it read")
    settled = {key for key, state in found.items() if state in ("accepted", "fallback")}
    if undelivered := settled - set(seen["delivered"]):
        wrong.append(f"{len(undelivered)} results were not delivered, such as {min(undelivered)}")
    return wrong


def _doubled(seen: Mapping[str, Any]) -> list[str]:
    wrong = []
    if double := seen["after"]["double"]:
        wrong.append(f"{len(double)} records have two outcomes, such as {double[0]}")
    if twice := [key for key, count in Counter(seen["delivered"]).items() if count > 1]:
        wrong.append(f"{len(twice)} results were delivered twice, such as {twice[0]}")
    repeated = set(seen["called"]) & set(seen["called_again"])
    # What waits in the retry queue is worked again when its time comes.
    kept = {key for key, state in seen["before"]["outcomes"].items() if state != "waiting_retry"}
    if needless := sorted(repeated & kept):
        wrong.append(f"{len(needless)} records were worked again that were stored already, such as {needless[0]}")
    elif (more := len(repeated) + len(kept) - len(set(seen["called"]))) > 0:  # Without a key they have other names.
        wrong.append(f"{more} records were worked again that were stored already")
    return wrong
