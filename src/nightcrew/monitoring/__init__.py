"""Telling people what happened while they slept."""

from nightcrew.monitoring.notify import notify

__all__ = ["notify"]
