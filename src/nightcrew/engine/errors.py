"""What can become of a workflow or a step, as errors."""

from nightcrew.model.errors import NightcrewError, PolicyError, TransientError


class RecordedError(NightcrewError):
    """A durable step or workflow ended in an error.

    What is recorded is data, never the exception object: ``error_name`` is the name of the exception's class,
    ``error_code`` its stable code (or None), and the message its text. A first run and a replay see the same.
    """

    code = "NC-WORKFLOW-FAILED"
    exit_status = 1
    hint = "See the message; a workflow that failed is not retried by itself."

    def __init__(self, message: str, *, error_name: str = "", error_code: str | None = None) -> None:
        super().__init__(message)
        self.error_name = error_name
        self.error_code = error_code


class WorkflowFailed(RecordedError):
    """The workflow ended in an error."""


class StepFailed(RecordedError):
    """A step or transaction of the workflow raised an error."""


class WorkflowCancelled(NightcrewError):
    """The workflow was cancelled."""

    code = "NC-WORKFLOW-CANCELLED"
    exit_status = 1
    hint = "Start it again under a new id, or release it with Engine.release."


class WorkflowQuarantined(PolicyError):
    """The workflow was interrupted as often as it may be, and waits for a person."""

    code = "NC-WORKFLOW-QUARANTINED"
    hint = "Find out what stops the process while it runs, then release it with Engine.release."


class LeaseLost(TransientError):
    """The worker was silent for so long that others took its work over; it has stopped."""

    code = "NC-LEASE-LOST"
    hint = "Start the worker again."


class EngineStopped(BaseException):
    """The engine is stopping: the workflow ends here, unrecorded, and is resumed by the next launch.

    Not an Exception, so that neither a workflow's own ``except Exception`` nor DBOS records it as an outcome.
    """
