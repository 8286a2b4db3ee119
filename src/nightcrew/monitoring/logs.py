"""Logs as JSON lines on standard error, for machines that collect them: one object a line, with the ids of the trace.

By default nothing is set up and nightcrew is quiet but for warnings. ``--log-json`` or ``NIGHTCREW_LOG=json`` turns
this on, for the process and its workers. What any library logs by the standard library comes out the same way.
"""

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

from nightcrew.monitoring import telemetry
from nightcrew.monitoring.redaction import Redaction

VARIABLE = "NIGHTCREW_LOG"


def is_asked_for(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment asks for JSON."""
    return (os.environ if environment is None else environment).get(VARIABLE, "").strip().lower() == "json"


def configure(stream: TextIO | None = None, *, environment: Mapping[str, str] | None = None) -> None:
    """Write all logs of this process as JSON lines to ``stream`` (default: standard error).

    Those of nightcrew from INFO on, those of others from WARNING on. ``environment`` is where secrets are looked for.
    """
    import structlog

    redaction = Redaction(environment)

    def redacted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        found = redaction.value(dict(event))
        return found if isinstance(found, dict) else {}

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _with_ids,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redacted,
            structlog.processors.JSONRenderer(default=repr, ensure_ascii=False),
        ],
        keep_exc_info=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for before in list(root.handlers):
        if isinstance(before.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("nightcrew").setLevel(logging.INFO)
    telemetry.configure(logs=True)


def configure_if_asked() -> None:
    """The same if the environment asks for it: for worker processes, which inherit it."""
    if is_asked_for():
        configure()


def _with_ids(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    found = telemetry.ids()
    if found is not None:
        if found.trace:
            event["trace_id"] = found.trace
        if found.span:
            event["span_id"] = found.span
    return event
