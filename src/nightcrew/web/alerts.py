"""The pages of alerts, and acknowledging and silencing them over the API."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from nightcrew.crew import alarms
from nightcrew.web.api import REFUSALS
from nightcrew.web.context import Context, context_of
from nightcrew.web.documents import Acknowledge, Done, SilenceEnd, SilenceIn
from nightcrew.web.templating import page

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(include_in_schema=False)
api = APIRouter(prefix="/api/alerts", responses=REFUSALS, tags=["alerts"])
LENGTHS = ((30, "30 minutes"), (120, "2 hours"), (480, "8 hours"), (1440, "a day"), (10080, "a week"))


@router.get("/alerts")
def alerts_page(context: Found, before: str = "") -> Response:
    """What fires, what is silenced, and what was."""
    place = before[:20] or None
    found = alarms.alarms(context.project, before=place)
    return page(context, "alerts.html", found=found, before=place, lengths=LENGTHS)


@router.get("/alerts/{alert_id}")
def alert_page(context: Found, alert_id: str) -> Response:
    """One alert: what was measured, who was told."""
    found, messages, quiet = alarms.alarm(context.project, alert_id[:40])
    return page(context, "alert.html", alert=found, messages=messages, silences=quiet, lengths=LENGTHS)


@api.post("/ack")
def acknowledge(context: Found, wanted: Acknowledge) -> Done:
    """Say that somebody looks after alerts: they are not escalated, and still tell when they are over."""
    return Done(count=alarms.acknowledge(context.project, wanted.alerts, comment=wanted.comment))


@api.post("/silence")
def silence(context: Found, wanted: SilenceIn) -> Done:
    """Tell nobody of alerts that match, for a time."""
    alarms.silence(
        context.project, rule=wanted.rule, subject=wanted.subject, minutes=wanted.minutes, comment=wanted.comment
    )
    return Done(count=1)


@api.post("/unsilence")
def unsilence(context: Found, wanted: SilenceEnd) -> Done:
    """End a silence now."""
    alarms.unsilence(context.project, wanted.silence)
    return Done(count=1)
