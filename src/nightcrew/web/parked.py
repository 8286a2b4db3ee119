"""Releasing and discarding what is in quarantine, over the API: as in a terminal, no signature, and past no gate."""

from typing import Annotated

from fastapi import APIRouter, Depends

from nightcrew.pipeline import parked
from nightcrew.web.api import REFUSALS
from nightcrew.web.context import Context, context_of
from nightcrew.web.documents import Leave, Left

Found = Annotated[Context, Depends(context_of)]
router = APIRouter(prefix="/api/records", responses=REFUSALS, tags=["records"])


@router.post("/release")
def release(context: Found, wanted: Leave) -> Left:
    """Give quarantined records back to the retry queue, due now; a gate before or behind it holds them as before."""
    count = parked.release(context.project.store, wanted.records, actor="human")
    context.project.pin_ledger()
    return Left(count=count)


@router.post("/discard")
def discard(context: Found, wanted: Leave) -> Left:
    """Decide that quarantined records are not to be worked; they stay stored, with the reason."""
    count = parked.discard(context.project.store, wanted.records, actor="human", reason=wanted.reason)
    context.project.pin_ledger()
    return Left(count=count)
