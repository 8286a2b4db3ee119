"""Holding commands that nobody watches: what they may read, write and reach, and for how long they may live."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightcrew.sandbox.choose import available, named
    from nightcrew.sandbox.environment import scrubbed_environment
    from nightcrew.sandbox.interactive import Live, live
    from nightcrew.sandbox.process import Completed, Limits, Policy
    from nightcrew.sandbox.protocol import Launch, Sandbox
    from nightcrew.sandbox.runner import run

__all__ = [
    "Completed",
    "Launch",
    "Limits",
    "Live",
    "Policy",
    "Sandbox",
    "available",
    "live",
    "named",
    "run",
    "scrubbed_environment",
]

# Loaded when first used: a command that runs nothing does not pay for subprocess, tempfile and the like.
_HOME = {
    "Completed": "process",
    "Launch": "protocol",
    "Limits": "process",
    "Live": "interactive",
    "Policy": "process",
    "Sandbox": "protocol",
    "available": "choose",
    "live": "interactive",
    "named": "choose",
    "run": "runner",
    "scrubbed_environment": "environment",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
