"""The pages about nightcrew itself: settings as they are in effect, and runbooks."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from nightcrew.crew import in_effect
from nightcrew.readiness import runbook
from nightcrew.web.context import Context, context_of
from nightcrew.web.templating import page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)


@router.get("/settings")
def settings_page(context: Found) -> Response:
    """Every setting with its value and where it comes from."""
    project = context.project
    return page(
        context,
        "settings.html",
        tables=in_effect.settings(project),
        state=in_effect.state_of(project),
        playbook=project.playbook_text,
        playbook_sha256=project.playbook_sha256,
    )


@router.get("/runbooks")
def runbooks_page(context: Found, q: str = "") -> Response:
    """What each failure and alert means, and what to do."""
    return page(context, "runbooks.html", found=runbook.search(q[:100]), text=q[:100])


@router.get("/runbooks/{code}")
def runbook_page(context: Found, code: str) -> Response:
    """The page of one code."""
    return page(context, "runbook.html", runbook=runbook.find(code[:100]))
