"""How a brain ends its work: a typed result, from a tool call or read out of the last message of a coding agent."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from nightcrew.brains.protocol import Answer, Task
from nightcrew.model.finding import Category, Finding, fingerprint
from nightcrew.model.severity import Severity

_READ = 100_000
"""Characters at the end of a message in which its result is looked for."""


def _as_text(value: Any) -> Any:
    """Models give a list, or nothing, where a text is asked for; and characters that no document holds."""
    if value is None:
        return ""
    return _clean("\n".join(f"- {item}" for item in value) if isinstance(value, list) else value)


def _clean(value: Any) -> Any:
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if isinstance(value, str) else value


Said = Annotated[str, BeforeValidator(_as_text), Field(max_length=50_000)]
Line = Annotated[str, BeforeValidator(_clean)]


class Finish(BaseModel):
    """End the work on the ticket."""

    finished: bool = Field(description="true only if everything that the ticket asks for is done")
    done: Said = Field(description="what was done, in plain words, for the people and agents who go on from here")
    next: Said = Field(default="", description="what is missing, if anything")
    questions: Said = Field(default="", description="questions that only a person can answer")
    decisions: list[Line] = Field(
        default_factory=list, max_length=50, description="decisions that later work must know"
    )


class Reported(BaseModel):
    """One problem that was found by reading."""

    severity: Severity = Field(description="info, low, medium, high or critical")
    message: Line = Field(min_length=1, max_length=2_000, description="what is wrong")
    path: Line | None = Field(default=None, max_length=1_000, description="the file, from the repository's root")
    line: int | None = Field(default=None, ge=1, description="the line on the changed side")
    evidence: Said = Field(default="", description="why it is wrong: the code, or how to make it fail")
    confidence: float = Field(default=0.5, ge=0, le=1, description="how sure you are, from 0 to 1")
    breaks_build: bool = Field(default=False, description="true if it does not install, start, import or collect")


class Report(BaseModel):
    """End the review."""

    findings: list[Reported] = Field(default_factory=list, max_length=200, description="empty if nothing was found")
    done: Said = Field(default="", description="what was looked at")


def answer(result: Finish | Report, task: Task, *, brain: str) -> Answer:
    """The answer that a typed result stands for."""
    if isinstance(result, Finish):
        decisions = tuple(one[:1_000] for one in result.decisions)
        return Answer(result.finished, result.done, result.next, result.questions, decisions, brain=brain)
    found = tuple(finding(one, tool=f"{task.agent}-{brain}") for one in result.findings)
    return Answer(True, result.done, findings=found, brain=brain)


def finding(reported: Reported, *, tool: str) -> Finding:
    """A finding from what a model reported; its fingerprint is of what it says, since it names no code."""
    return Finding(
        fingerprint=fingerprint(tool=tool, rule="review", path=reported.path, code=reported.message),
        tool=tool,
        rule="review",
        category=Category.REVIEW,
        severity=reported.severity,
        message=reported.message,
        path=reported.path,
        line=reported.line,
        evidence=reported.evidence,
        confidence=reported.confidence,
        breaks_build=reported.breaks_build,
    )


def read(text: str, task: Task, *, brain: str) -> Answer:
    """The answer in a coding agent's last message: the last JSON object in it that is a result.

    Without one the work counts as unfinished, with the message as what was done: nobody said that it is finished.
    """
    kind = Finish if task.kind == "build" else Report
    key = "finished" if kind is Finish else "findings"
    for value in _objects_from_the_end(text):
        if key in value:
            try:
                return answer(kind.model_validate(value), task, brain=brain)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                return Answer(False, _clean(text), f"Its result does not fit: {where}: {first['msg']}.", brain=brain)
    said = _clean(text[-_READ:].strip()) or "It said nothing."
    return Answer(False, said, "It ended without saying whether the work is finished.", brain=brain)


def _objects_from_the_end(text: str) -> list[dict[str, Any]]:
    text = text[-_READ:]
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    at = text.find("{")
    while at != -1 and len(found) < 100:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict):
                found.append(value)
        at = text.find("{", end)
    return found[::-1]
