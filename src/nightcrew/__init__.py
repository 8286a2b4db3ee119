"""nightcrew runs AI work unattended, at 2 AM, and is trusted in the morning.

The library's public names, imported when they are first used: ``import nightcrew as nc``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightcrew.monitoring.drift import Drift, DriftReport
    from nightcrew.pipeline import (
        CallableSink,
        Delivery,
        DriftError,
        Drill,
        JsonlSink,
        ParquetSink,
        Pipeline,
        Requeue,
        SqlSink,
        SqlSource,
        Summary,
    )
    from nightcrew.reliability import (
        Breaker,
        Calibration,
        Contract,
        ContractError,
        Failure,
        FailureClass,
        Fallback,
        Gate,
        Observation,
        Partial,
        Prediction,
        Result,
        Retry,
        Secret,
        calibrate,
        classify,
        guard,
        production,
        truncate_to,
        worth_retrying,
    )

__version__ = "0.1.0"

_HOME = {
    "monitoring.drift": ("Drift", "DriftReport"),
    "reliability": (
        "Breaker", "Calibration", "Contract", "ContractError", "Failure", "FailureClass", "Fallback", "Gate",
        "Observation", "Partial",
        "Prediction", "Result", "Retry", "Secret", "calibrate", "classify", "guard", "production", "truncate_to",
        "worth_retrying",
    ),
    "pipeline": (
        "CallableSink", "Delivery", "Drill", "DriftError", "JsonlSink", "ParquetSink", "Pipeline", "Requeue", "SqlSink",
        "SqlSource", "Summary",
    ),
}  # fmt: skip
_PLACE = {name: home for home, names in _HOME.items() for name in names}

__all__ = [
    "Breaker",
    "Calibration",
    "CallableSink",
    "Contract",
    "ContractError",
    "Delivery",
    "Drift",
    "DriftError",
    "DriftReport",
    "Drill",
    "Failure",
    "FailureClass",
    "Fallback",
    "Gate",
    "JsonlSink",
    "Observation",
    "ParquetSink",
    "Partial",
    "Pipeline",
    "Prediction",
    "Requeue",
    "Result",
    "Retry",
    "Secret",
    "SqlSink",
    "SqlSource",
    "Summary",
    "__version__",
    "calibrate",
    "classify",
    "guard",
    "production",
    "truncate_to",
    "worth_retrying",
]


def __getattr__(name: str) -> Any:
    """A public name, from the package that it lives in."""
    if name not in _PLACE:
        raise AttributeError(f"nightcrew has no {name}")
    value = getattr(import_module(f"nightcrew.{_PLACE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
