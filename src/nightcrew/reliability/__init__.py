"""Contracts, classified failures, retries, breakers, fallbacks and gates around any call; no database needed."""

from nightcrew.reliability.breaker import Breaker
from nightcrew.reliability.calibrate import Calibration, calibrate
from nightcrew.reliability.contract import Contract, Secret
from nightcrew.reliability.errors import (
    BreakerOpenError,
    CallTimeoutError,
    ContractError,
    CorruptError,
    ModelLoadError,
    RetriesExhaustedError,
    ReviewNeededError,
    worth_retrying,
)
from nightcrew.reliability.failure import Failure, FailureClass, classify, register, registered
from nightcrew.reliability.fallback import Fallback, Truncated, estimate_tokens, truncate_to
from nightcrew.reliability.frames import FrameSchema
from nightcrew.reliability.gate import AUDIT, Gate, is_audit
from nightcrew.reliability.guard import guard, production
from nightcrew.reliability.guarded import AsyncGuarded, Guarded
from nightcrew.reliability.observe import Observation, Tally
from nightcrew.reliability.result import Partial, Prediction, Result
from nightcrew.reliability.retry import Attempt, Retry, no_waits
from nightcrew.reliability.timeout import abandoned

__all__ = [
    "AUDIT",
    "AsyncGuarded",
    "Attempt",
    "Breaker",
    "BreakerOpenError",
    "Calibration",
    "CallTimeoutError",
    "Contract",
    "ContractError",
    "CorruptError",
    "Failure",
    "FailureClass",
    "Fallback",
    "FrameSchema",
    "Gate",
    "Guarded",
    "ModelLoadError",
    "Observation",
    "Partial",
    "Prediction",
    "Result",
    "RetriesExhaustedError",
    "Retry",
    "ReviewNeededError",
    "Secret",
    "Tally",
    "Truncated",
    "abandoned",
    "calibrate",
    "classify",
    "estimate_tokens",
    "guard",
    "is_audit",
    "no_waits",
    "production",
    "register",
    "registered",
    "truncate_to",
    "worth_retrying",
]
