"""The brain that asks a model through its API: a tool loop on pydantic-ai, metered, journalled and retried by us."""

from nightcrew.brains.model.brain import ModelBrain

__all__ = ["ModelBrain"]
