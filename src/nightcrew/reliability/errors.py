"""What a guarded call raises."""

from typing import TYPE_CHECKING, Any, ClassVar

from nightcrew.model.errors import DocumentError, NightcrewError, PolicyError, TransientError
from nightcrew.reliability.failure import Failure, FailureClass, classify

if TYPE_CHECKING:
    from nightcrew.reliability.result import Result


class ContractError(DocumentError):
    """A record, or a result, does not satisfy its contract."""

    code = "NC-CONTRACT"
    hint = "Mend the record or the contract; a quarantined record is released with: nightcrew quarantine release"

    def __init__(self, message: str | None = None, *, problems: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class CorruptError(DocumentError):
    """A record cannot be read at all."""

    code = "NC-CORRUPT"
    hint = "See its bytes with: nightcrew quarantine show PIPELINE/KEY"
    failure: Failure

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failure = Failure(FailureClass.CORRUPT, "CorruptError", str(self)[:500])


class ModelLoadError(NightcrewError):
    """A model cannot be loaded."""

    code = "NC-MODEL-LOAD"
    exit_status = 4
    hint = "Check that the model's file is there, whole, and made by a compatible version; then release what failed."
    failure: Failure

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failure = Failure(FailureClass.MODEL_LOAD, "ModelLoadError", str(self)[:500])


class CallTimeoutError(TransientError, TimeoutError):
    """A call did not end in its time."""

    code = "NC-TIMEOUT"
    hint = "Give the step a longer timeout if this happens at normal load."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(FailureClass.TIMEOUT, "CallTimeoutError", str(self)[:500])


class BreakerOpenError(TransientError):
    """The breaker is open: the service has failed too often of late, and is left alone for a while."""

    code = "NC-BREAKER-OPEN"
    hint = "It tries again by itself after its reset time."

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RetriesExhaustedError(TransientError, RuntimeError):
    """A transient failure outlived its retries."""

    # RuntimeError too: the retry policies of some orchestrators leave those alone, and it was retried already.
    code = "NC-RETRIES"

    def __init__(self, message: str | None = None, *, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.failure = failure


class ReviewNeededError(PolicyError):
    """A gate holds this result: a person must look at it first."""

    code = "NC-REVIEW"
    exit_status: ClassVar[int] = 3
    hint = "Call .result() to get the held value and the reason, and put it before a person."

    def __init__(self, message: str | None = None, *, result: "Result[Any] | None" = None) -> None:
        super().__init__(message)
        self.result = result


def worth_retrying(error: BaseException) -> bool:
    """Whether an orchestrator around a guarded call should retry it: transient, and no guard has retried it already.

    For Prefect's ``retry_condition_fn``, LangGraph's ``retry_on`` and their like.
    """
    if isinstance(error, RetriesExhaustedError | ReviewNeededError):
        return False
    return classify(error).kind.transient
