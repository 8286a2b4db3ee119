"""Verdicts of QA and security at their commit: as check runs, or as commit statuses where the token may not make those.

Only a GitHub App (GITHUB_TOKEN in Actions is one) may make check runs; a person's token gets 403 and makes statuses.

Sources: https://docs.github.com/en/rest/checks/runs#create-a-check-run (50 annotations a request, a summary of 65,535
characters) and https://docs.github.com/en/rest/commits/statuses#create-a-commit-status (140 characters).
"""

from typing import Any, Literal

from pydantic import TypeAdapter

from nightcrew.crew.forge.errors import ForgeRefused
from nightcrew.crew.forge.repository import Answered, Forge
from nightcrew.model.document import Document
from nightcrew.model.handoff import Verdict

MOST_ANNOTATIONS = 50
_CONCLUSION = {Verdict.PASSED: "success", Verdict.FAILED: "failure", Verdict.NOT_CHECKED: "action_required"}
"""What was not checked is not neutral: GitHub counts that as passed where a check is required."""

_STATUS = {Verdict.PASSED: "success", Verdict.FAILED: "failure", Verdict.NOT_CHECKED: "error"}


class Annotation(Document):
    """One finding at its line."""

    path: str
    line: int
    level: Literal["notice", "warning", "failure"]
    title: str
    message: str


class Said(Document):
    """One verdict: of ``desk`` on commit ``head``, by handoff ``handoff``."""

    desk: str
    head: str
    handoff: str
    verdict: Verdict
    title: str
    summary: str
    annotations: tuple[Annotation, ...] = ()

    @property
    def name(self) -> str:
        """What the check is called at the forge, and what a branch rule requires."""
        return f"nightcrew/{self.desk}"


class _Run(Answered):
    id: int
    name: str
    external_id: str | None = None
    conclusion: str | None = None


class _State(Answered):
    id: int
    context: str
    state: str
    description: str | None = None


_RUN: TypeAdapter[_Run] = TypeAdapter(_Run)
_RUNS: TypeAdapter[list[_Run]] = TypeAdapter(list[_Run])
_STATE: TypeAdapter[_State] = TypeAdapter(_State)
_STATES: TypeAdapter[list[_State]] = TypeAdapter(list[_State])


def bring(forge: Forge, said: Said) -> dict[str, Any]:
    """See to it that the verdict is at its commit; gives its ``id`` and whether it is a ``check`` or a ``status``.

    Raises ForgeAway, ForgeRefused.
    """
    try:
        return _as_run(forge, said)
    except ForgeRefused as error:
        if error.status not in (403, 404):
            raise
    return _as_status(forge, said)


def _as_run(forge: Forge, said: Said) -> dict[str, Any]:
    path = forge.at(f"/commits/{said.head}/check-runs")
    for run in forge.api.every_in(path, "check_runs", _RUNS, query={"check_name": said.name}):
        if run.name == said.name and run.external_id == said.handoff:
            return {"as": "check", "id": run.id}
    body = {
        "name": said.name,
        "head_sha": said.head,
        "external_id": said.handoff,
        "status": "completed",
        "conclusion": _CONCLUSION[said.verdict],
        "output": {
            "title": said.title,
            "summary": said.summary,
            "annotations": [_annotation(one) for one in said.annotations[:MOST_ANNOTATIONS]],
        },
    }
    made = forge.api.post(forge.at("/check-runs"), body, _RUN)
    return {"as": "check", "id": made.id if made else 0}


def _annotation(one: Annotation) -> dict[str, Any]:
    return {
        "path": one.path,
        "start_line": one.line,
        "end_line": one.line,
        "annotation_level": one.level,
        "title": one.title[:255],
        "message": one.message[:2000] or one.title,
    }


def _as_status(forge: Forge, said: Said) -> dict[str, Any]:
    description = f"{said.handoff}: {said.title}"[:140]
    wanted = (said.name, _STATUS[said.verdict], description)
    # Newest first: a status is not changed, another one is put over it.
    for state in forge.api.every(forge.at(f"/commits/{said.head}/statuses"), _STATES):
        if state.context == said.name:
            if (state.context, state.state, state.description or "") == wanted:
                return {"as": "status", "id": state.id}
            break
    body = {"state": wanted[1], "context": said.name, "description": description}
    made = forge.api.post(forge.at(f"/statuses/{said.head}"), body, _STATE)
    return {"as": "status", "id": made.id if made else 0}
