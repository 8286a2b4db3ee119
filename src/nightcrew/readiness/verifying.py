"""Whether a report of readiness still holds: what it was made of, compared with what is here."""

from collections.abc import Iterator
from datetime import timedelta

from nightcrew.model.clock import Clock, isoformat, system_clock
from nightcrew.model.errors import IntegrityError
from nightcrew.pipeline.pinned import hash_of
from nightcrew.readiness.boxes import Status
from nightcrew.readiness.checklist import check
from nightcrew.readiness.drills.running import opened
from nightcrew.readiness.report import repository
from nightcrew.readiness.statement import ReadinessPredicate, changed
from nightcrew.readiness.target import Target

_SKEW = timedelta(minutes=5)
_WORTH = {Status.PROVEN: 2, Status.NOT_APPLICABLE: 2, Status.CONFIGURED: 1, Status.MISSING: 0}


def differs(report: ReadinessPredicate, target: Target, *, clock: Clock = system_clock) -> list[str]:
    """What is not as a genuine report says, in words: nothing, if it still holds. A pipeline's module is imported.

    Raises IntegrityError for a report of another target or another repository.
    """
    if target.label != report.target:
        raise IntegrityError(f"the report is one of {report.target}, not of {target.label}")
    here = repository(target)
    if report.repository and here not in ("", report.repository):
        raise IntegrityError(
            f"the report is one of another repository: its ledger begins with {report.repository[:16]}, the one here"
            f" with {here[:16]}"
        )
    said = [*_dates(report, clock), *changed(report, target.fingerprint())]
    if report.repository and not here:
        return [*said, "the ledger with its evidence is not here"]
    said += _entries(report, target) if here else ()
    return said or [*_worse(report, target, clock)]


def _dates(report: ReadinessPredicate, clock: Clock) -> Iterator[str]:
    latest = max((one.at for box in report.boxes for one in box.evidence if one.at), default=report.time)
    if report.time > clock() + _SKEW:
        yield f"it is dated {isoformat(report.time)}, which is yet to come: a clock was wrong"
    if latest > report.time + _SKEW:
        yield f"it is dated {isoformat(report.time)}, before its evidence of {isoformat(latest)}: a clock was wrong"


def _entries(report: ReadinessPredicate, target: Target) -> Iterator[str]:
    with opened(target) as store, store.read() as tx:
        for box in report.boxes:
            for one in box.evidence:
                if one.entry is not None and hash_of(tx, one.entry) != one.sha256:
                    yield f"entry {one.entry} of the ledger, evidence for {box.box}, is not what it was"


def _worse(report: ReadinessPredicate, target: Target, clock: Clock) -> Iterator[str]:
    """Boxes of which less is known now: a drill failed since, a channel has no address here."""
    now = {state.box: state for state in check(target, clock=clock).boxes}
    for then in report.boxes:
        if _WORTH[now[then.box].status] < _WORTH[then.status]:
            words = [str(status).replace("_", " ") for status in (then.status, now[then.box].status)]
            yield f"{then.box} was {words[0]}, and is {words[1]}: {now[then.box].reason}"
