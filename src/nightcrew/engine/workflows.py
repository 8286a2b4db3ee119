"""Workflows as the rest of nightcrew names and sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class WorkflowState(StrEnum):
    """Where a workflow stands."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


STATES = {
    "ENQUEUED": WorkflowState.WAITING,
    "DELAYED": WorkflowState.WAITING,
    "PENDING": WorkflowState.RUNNING,
    "SUCCESS": WorkflowState.SUCCEEDED,
    "ERROR": WorkflowState.FAILED,
    "CANCELLED": WorkflowState.CANCELLED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": WorkflowState.QUARANTINED,
}
"""Our state for each status that DBOS stores."""


@dataclass(frozen=True)
class Workflow:
    """A function registered as a durable workflow under a stable name, with how often it may be run."""

    name: str
    function: Callable[..., Any]
    max_attempts: int


@dataclass(frozen=True)
class WorkflowInfo:
    """One workflow as listed; its arguments and result are not read."""

    workflow_id: str
    name: str
    state: WorkflowState
    queue: str | None
    executor_id: str | None
    application_version: str | None
    attempts: int
    created_at: datetime
