"""The child process of a drill: calls one function of nightcrew, in the sandbox, on the pipeline as it is in the copy.

It reads one JSON document, ``{function, spec, target, state}``, and writes one: what the function gave, or why not.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from nightcrew.model.errors import NightcrewError
from nightcrew.pipeline.pipeline import Pipeline
from nightcrew.readiness.drills.protocol import NotApplicable


def main() -> None:
    """Answer, on what was standard output; what the user's code prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    try:
        pipeline, note = opened(job["target"], Path(job["state"])) if job["target"] else (None, "")
        module, _, name = job["function"].partition(":")
        called = getattr(importlib.import_module(module), name)
        answer: dict[str, Any] = {"answer": called(pipeline, job["spec"]), "note": note}
        if pipeline is not None:
            pipeline.close()
    except NotApplicable as reason:
        answer = {"error": str(reason), "kind": NotApplicable.__name__, "hint": ""}
    except NightcrewError as error:
        answer = {"error": str(error), "kind": type(error).__name__, "hint": error.hint}
    except BaseException as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}", "kind": type(error).__name__, "hint": _hint(error)}
    answers.write(json.dumps(answer, default=str) + "\n")


def opened(target: str, state: Path) -> tuple[Pipeline, str]:
    """The pipeline of a target, its state in the folder ``state``, whatever its code names; and what that replaces."""
    from nightcrew.pipeline.loading import load

    pipeline = load(target)
    pipeline.close()  # A module may have looked at its outcomes while it was imported.
    named = pipeline._where[1] or ""
    pipeline.use(state=state, database_url=f"sqlite:///{state / '.nightcrew' / 'nightcrew.db'}")
    return pipeline, "SQLite in the copy stood in for its Postgres" if named.startswith("postgres") else ""


def _hint(error: BaseException) -> str:
    """What to do about an error of the user's code, if that can be told."""
    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    if isinstance(error, KeyError) and last.f_globals.get("__name__") == os.__name__:
        return f"No variable of your environment is handed on but those that you name: --env {error.args[0]}"
    return ""


if __name__ == "__main__":
    main()
