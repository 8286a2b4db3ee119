"""Durable execution: workflows that survive the death of their process. The only package that imports DBOS."""

from nightcrew.engine.errors import (
    EngineStopped,
    LeaseLost,
    RecordedError,
    StepFailed,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowQuarantined,
)
from nightcrew.engine.runtime import Engine
from nightcrew.engine.version import APPLICATION_VERSION
from nightcrew.engine.workflows import Workflow, WorkflowInfo, WorkflowState

__all__ = [
    "APPLICATION_VERSION",
    "Engine",
    "EngineStopped",
    "LeaseLost",
    "RecordedError",
    "StepFailed",
    "Workflow",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowInfo",
    "WorkflowQuarantined",
    "WorkflowState",
]
