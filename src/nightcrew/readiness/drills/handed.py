"""In the children of a run over several processes: the pipeline under drill, watched. They import it from here.

Which it is, and what is watched for, says the variable ``SPEC``, when ``pipeline`` is asked for.
"""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightcrew.readiness.drills.child import opened
from nightcrew.readiness.drills.sharing import SPEC
from nightcrew.readiness.drills.watched import watch

if TYPE_CHECKING:
    from nightcrew.pipeline import Pipeline


@cache
def _opened() -> "Pipeline":
    spec: Mapping[str, Any] = json.loads(os.environ[SPEC])
    found, _ = opened(spec["target"], Path(spec["state"]))
    watch(found, spec)
    return found


def __getattr__(name: str) -> "Pipeline":
    if name != "pipeline":
        raise AttributeError(name)
    return _opened()
