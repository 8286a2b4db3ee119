"""The timeline: its page, which reads without JavaScript too, and its part of the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from nightcrew.crew import timeline, under
from nightcrew.crew.project import Project
from nightcrew.model.errors import UsageError
from nightcrew.web import plotly, templating
from nightcrew.web.api import REFUSALS
from nightcrew.web.context import Context, context_of
from nightcrew.web.timeline_documents import LaneOut, TimelineOut, UnderOut, timeline_out, under_out

Found = Annotated[Context, Depends(context_of)]
SPANS = {
    "1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24), "7d": timedelta(days=7),
    "30d": timedelta(days=30), "365d": timedelta(days=365),
}  # fmt: skip
"""How far back a page looks that follows the present."""
_USUAL = "6h"
_ROWS = 74
"""Buckets of the table: coarser than the chart's."""

_Subject = Annotated[
    str,
    Query(pattern=r"^(all|crew|pipeline:[A-Za-z0-9_-]{1,200})$", description="`all`, `crew` or `pipeline:NAME`"),
]
_Step = Annotated[
    str, Query(max_length=200, pattern=r"^[^\x00-\x1f]*$", description="the step of the pipeline whose calls are timed")
]
_Page = Annotated[int, Query(ge=1, le=100_000, description="which page of records")]


_EMPTY = BeforeValidator(lambda given: given or None)  # A form sends an empty one for none.
_AS = "RFC 3339, in UTC if it has no offset"
_From = Annotated[datetime | None, _EMPTY, Query(alias="from", description=f"where the span begins: {_AS}")]
_To = Annotated[datetime | None, _EMPTY, Query(alias="to", description=f"where it ends, now by default: {_AS}")]
_UnderFrom = Annotated[datetime | None, _EMPTY, Query(alias="under_from")]
_UnderTo = Annotated[datetime | None, _EMPTY, Query(alias="under_to")]

api = APIRouter(prefix="/api/timeline", responses=REFUSALS, tags=["timeline"])
page = APIRouter(include_in_schema=False)


@api.get("")
def get_timeline(
    context: Found, subject: _Subject = "all", step: _Step = "", begin: _From = None, end: _To = None
) -> TimelineOut:
    """Throughput, times, errors, drift, alerts, deployments and queues of a subject, in buckets over one axis."""
    project = context.project
    start, until, _ = _between(project, begin, end, _USUAL)
    found = timeline.read(project.store, subject, start, until, project.clock(), step=step or None)
    return timeline_out(found, project.clock(), project.repository_id)


@api.get("/under")
def get_under(
    context: Found, subject: _Subject = "all", begin: _From = None, end: _To = None, page: _Page = 1
) -> UnderOut:
    """The records, failures, sessions, handoffs and alerts of a span; records that failed come first."""
    project = context.project
    start, until, _ = _between(project, begin, end, _USUAL)
    return under_out(under.read(project.store, subject, start, until, page=page), project.repository_id)


@dataclass(frozen=True)
class Address:
    """What the address of the page says."""

    subject: str
    step: str
    span: str
    start: datetime | None
    end: datetime | None
    under: tuple[datetime, datetime] | None
    number: int

    def link(self, **changed: Any) -> str:
        """The address with some of it changed; what is as usual is left out."""
        above, below = (None, None) if self.under is None else self.under
        now = {
            "subject": self.subject, "step": self.step, "span": self.span, "from": self.start, "to": self.end,
            "under_from": above, "under_to": below, "page": 1,
        } | changed  # fmt: skip
        usual = {"subject": "all", "span": _USUAL, "page": 1}
        kept = {
            name: stamp(value) if isinstance(value, datetime) else str(value)
            for name, value in now.items()
            if value and value != usual.get(name)
        }
        return "/timeline" + ("?" + urlencode(kept, safe=":") if kept else "")


@page.get("/timeline")
def timeline_page(
    context: Found,
    subject: _Subject = "all",
    step: _Step = "",
    span: Annotated[str, Query(max_length=10)] = _USUAL,
    begin: _From = None,
    end: _To = None,
    under_begin: _UnderFrom = None,
    under_end: _UnderTo = None,
    page: _Page = 1,
) -> Response:
    """The timeline of a subject, and what lies under a part of it."""
    project = context.project
    if span not in SPANS:
        raise UsageError(f"{span!r} is no span that a page follows", hint=f"Spans are: {', '.join(SPANS)}")
    start, until, live = _between(project, begin, end, span)
    part = None
    if under_begin is not None or under_end is not None:
        part = (_utc(under_begin) if under_begin else start, _utc(under_end) if under_end else until)
    asked = Address(subject, step, span, None if live else start, None if live else until, part, page)
    now = project.clock()
    coarse = timeline.read(project.store, subject, start, until, now, step=step or None, buckets=_ROWS)
    drawn = timeline_out(coarse, now, project.repository_id)
    found = None
    if part is not None:
        found = under_out(under.read(project.store, subject, *part, page=page), project.repository_id)
    return templating.page(
        context,
        "timeline.html",
        asked=asked,
        live=live,
        spans=list(SPANS),
        subjects=timeline.subjects(project.store),
        steps=timeline.steps(project.store, subject),
        start=start,
        end=until,
        drawn=drawn,
        lanes=[lane for lane in drawn.lanes if lane.lines],
        rows=_rows(drawn.lanes, coarse.axis.starts()),
        width=timedelta(seconds=coarse.axis.step),
        under=found,
        plotly=plotly.address(),
        stamp=stamp,
        local=local,
        shown=shown,
    )


def stamp(moment: datetime) -> str:
    """A time in an address: to the microsecond where it has such."""
    return moment.astimezone(UTC).isoformat(timespec="auto").replace("+00:00", "Z")


def local(moment: datetime) -> str:
    """A time as an input of a form has it, in UTC to the millisecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def shown(value: float | None) -> str:
    """A number as the table shows it."""
    return "" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _between(
    project: Project, begin: datetime | None, end: datetime | None, span: str
) -> tuple[datetime, datetime, bool]:
    """The span that is asked for, and whether it follows the present. Raises UsageError."""
    until = project.clock() if end is None else _utc(end)
    start = until - SPANS[span] if begin is None else _utc(begin)
    return start, until, begin is None and end is None


def _utc(moment: datetime) -> datetime:
    if not 2000 <= moment.year <= 2100:
        raise UsageError("a span lies between the years 2000 and 2100", hint="Look at the years in: from, to")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _rows(lanes: Sequence[LaneOut], starts: Sequence[datetime]) -> list[Mapping[str, Any]]:
    """The table's rows: the times at which something was measured."""
    rows: list[Mapping[str, Any]] = []
    for index, start in enumerate(starts):
        values = [line.values[index] for lane in lanes for line in lane.lines]
        if any(value is not None for value in values):
            rows.append({"start": start, "values": values})
    return rows


router = APIRouter()
"""Everything of the timeline, with the library that draws it."""
for _part in (page, api, plotly.router):
    router.include_router(_part)
