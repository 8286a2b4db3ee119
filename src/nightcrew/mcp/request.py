"""What a tool is called with, beside its arguments."""

from dataclasses import dataclass

from nightcrew.crew.project import Project


@dataclass(frozen=True)
class Request:
    """One call: the opened repository, and what the program that asks calls itself."""

    project: Project
    program: str
