"""Holding commands that nobody watches: what they may read, write and reach, and for how long they may live."""

from nightcrew.sandbox.choose import available
from nightcrew.sandbox.environment import scrubbed_environment
from nightcrew.sandbox.process import Completed, Limits, Policy
from nightcrew.sandbox.protocol import Launch, Sandbox
from nightcrew.sandbox.runner import run

__all__ = [
    "Completed",
    "Launch",
    "Limits",
    "Policy",
    "Sandbox",
    "available",
    "run",
    "scrubbed_environment",
]
