"""In the child: be a worker of a run that several processes share, with children that watch what they work."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline

SPEC = "NIGHTCREW_DRILL_WATCHED"
"""The variable with the spec of ``watched.watch`` for the children, as JSON."""
WORK = "nightcrew.readiness.drills.sharing:work"
_HANDED = "nightcrew.readiness.drills.handed:pipeline"


def work(pipeline: "Pipeline", spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``input`` to ``sink`` over ``workers`` processes, which import the pipeline watched. Gives the summary."""
    from nightcrew.pipeline.workers import run_workers

    os.environ[SPEC] = json.dumps(dict(spec))
    done = run_workers(pipeline, _HANDED, spec["input"], workers=spec["workers"], sink=spec["sink"], max_rejected=1.0)
    return done.plain()
