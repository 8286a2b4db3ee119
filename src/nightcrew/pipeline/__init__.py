"""Records at scale: a pipeline of guarded steps, with one durable outcome a record, exactly once."""

from nightcrew.pipeline.drill import Drill
from nightcrew.pipeline.errors import DriftError, InputChangedError
from nightcrew.pipeline.pipeline import Pipeline
from nightcrew.pipeline.requeue import Requeue
from nightcrew.pipeline.sinks import CallableSink, Delivery, JsonlSink, ParquetSink, SqlSink
from nightcrew.pipeline.sources import SqlSource
from nightcrew.pipeline.summary import ProgressReport, Summary

__all__ = [
    "CallableSink",
    "Delivery",
    "DriftError",
    "Drill",
    "InputChangedError",
    "JsonlSink",
    "ParquetSink",
    "Pipeline",
    "ProgressReport",
    "Requeue",
    "SqlSink",
    "SqlSource",
    "Summary",
]
