"""What powers an agent: the seam to brains, and the mechanical one that needs no model."""

from nightcrew.brains.mechanical import MechanicalBrain
from nightcrew.brains.protocol import Answer, Brain, Task

__all__ = ["Answer", "Brain", "MechanicalBrain", "Task"]
