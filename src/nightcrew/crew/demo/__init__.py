"""The demo: a small real repository, two shifts, and an approval between them."""

from nightcrew.crew.demo.play import Demo, play

__all__ = ["Demo", "play"]
