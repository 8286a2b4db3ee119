"""What powers an agent: models, coding agents, and the mechanical brain that needs neither; tried in a chain."""

from nightcrew.brains.catalog import MECHANICAL, brains, check_hosts, settings_of, warm
from nightcrew.brains.chain import Chain
from nightcrew.brains.mechanical import MechanicalBrain
from nightcrew.brains.protocol import (
    Answer,
    Brain,
    BrainUnavailable,
    Context,
    Journal,
    Left,
    MustStop,
    Piece,
    Spent,
    Task,
    Turns,
    Watch,
)

__all__ = [
    "MECHANICAL",
    "Answer",
    "Brain",
    "BrainUnavailable",
    "Chain",
    "Context",
    "Journal",
    "Left",
    "MechanicalBrain",
    "MustStop",
    "Piece",
    "Spent",
    "Task",
    "Turns",
    "Watch",
    "brains",
    "check_hosts",
    "settings_of",
    "warm",
]
