"""A budget of turns: a soft cap at which a session wraps up and a hard cap at which it stops."""

from pydantic import Field, model_validator

from nightcrew.model.document import Document


class Budget(Document):
    """Caps on turns. A turn is one request to a brain: to a model, or one action of the mechanical brain."""

    soft: int = Field(ge=1)
    hard: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Budget":
        if self.soft > self.hard:
            raise ValueError(f"the soft cap ({self.soft}) is above the hard cap ({self.hard})")
        return self


class Spent(Document):
    """Turns used against a budget's caps."""

    used: int = Field(ge=0)
    soft: int = Field(ge=1)
    hard: int = Field(ge=1)
