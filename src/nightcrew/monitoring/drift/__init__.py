"""Drift: whether what comes in, and what goes out, is still like it was; what moved, since when and how far.

The method, and what it promises, stands in :mod:`nightcrew.monitoring.drift.compare`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightcrew.monitoring.drift.detector import Drift, DriftReport

__all__ = ["Drift", "DriftReport"]


def __getattr__(name: str) -> Any:
    """The public names, imported with numpy only when they are used."""
    if name not in __all__:
        raise AttributeError(f"nightcrew.monitoring.drift has no {name}")
    from nightcrew.monitoring.drift import detector

    return getattr(detector, name)
