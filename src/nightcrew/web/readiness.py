"""The page of readiness: the crew's eight boxes, and the last drills of everything that keeps its state here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from nightcrew.crew.project import Project
from nightcrew.model.errors import IntegrityError
from nightcrew.readiness.checklist import Checklist, check
from nightcrew.readiness.target import CrewTarget
from nightcrew.store import drills
from nightcrew.store.drills import DrillRun
from nightcrew.store.store import Tx
from nightcrew.web.context import Context, context_of
from nightcrew.web.templating import page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)
_MOST = 500


@dataclass(frozen=True)
class Line:
    """The last result of one drill of one target; ``vouched``: the ledger says so too. ``outdated``: of the crew's,
    something has changed since; of pipelines nobody knows here.
    """  # noqa: D205

    run: DrillRun
    happened: str
    vouched: bool
    outdated: bool


def checklist(context: Context) -> Checklist:
    """The crew's checklist, kept while nothing has changed."""
    project = context.project
    return context.server.kept.get(project, "readiness", lambda: check(CrewTarget(project), clock=project.clock))


@router.get("/readiness")
def readiness_page(context: Found) -> Response:
    """What is proven, configured and missing, and by what drill."""
    found = checklist(context)
    return page(context, "readiness.html", found=found, lines=_lines(context.project, found.fingerprint.digest))


def _lines(project: Project, now: str) -> Sequence[Line]:
    with project.store.read() as tx:
        runs = sorted(drills.last(tx, _MOST), key=lambda run: (run.target, run.drill))
        return [
            Line(
                run,
                str(run.doc.get("happened", "")),
                _is_vouched(tx, run),
                run.target == "crew" and run.fingerprint != now,
            )
            for run in runs
        ]


def _is_vouched(tx: Tx, run: DrillRun) -> bool:
    try:
        return drills.is_vouched(tx, run)
    except IntegrityError:
        return False
