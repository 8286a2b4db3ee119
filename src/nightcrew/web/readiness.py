"""The page of readiness: the crew's eight boxes, and the last drills of everything that keeps its state here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from nightcrew.crew.project import Project
from nightcrew.readiness.checklist import Checklist, check
from nightcrew.readiness.target import CrewTarget
from nightcrew.store import drills
from nightcrew.store.drills import DrillRun
from nightcrew.web.context import Context, context_of
from nightcrew.web.templating import page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)
_LOOKED_BACK = 500


@dataclass(frozen=True)
class Line:
    """The last result of one drill of one target; ``vouched``: the ledger says so too."""

    run: DrillRun
    vouched: bool


def checklist(context: Context) -> Checklist:
    """The crew's checklist, kept while nothing has changed."""
    project = context.project
    return context.server.kept.get(project, "readiness", lambda: check(CrewTarget(project), clock=project.clock))


@router.get("/readiness")
def readiness_page(context: Found) -> Response:
    """What is proven, configured and missing, and by what drill."""
    return page(context, "readiness.html", found=checklist(context), lines=_lines(context.project))


def _lines(project: Project) -> Sequence[Line]:
    last: dict[tuple[str, str], DrillRun] = {}
    with project.store.read() as tx:
        for run in drills.list(tx, limit=_LOOKED_BACK):  # the newest first
            last.setdefault((run.target, run.drill), run)
        return [Line(last[name], drills.is_vouched(tx, last[name])) for name in sorted(last)]
