"""A pipeline: steps and gates that every record of an input goes through, each with one durable outcome."""

import hashlib
import inspect
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

from nightcrew.model.clock import Clock, system_clock
from nightcrew.model.errors import ConfigurationError, UsageError
from nightcrew.pipeline.chain import Chain, Hold, Stage, Step, parameters
from nightcrew.pipeline.concurrent import Limits
from nightcrew.pipeline.intake import Key
from nightcrew.pipeline.requeue import Requeue
from nightcrew.pipeline.sinks import Sink
from nightcrew.pipeline.sources import Source
from nightcrew.pipeline.state import State, find_state
from nightcrew.pipeline.summary import ProgressReport, Summary
from nightcrew.reliability import Breaker, Contract, Fallback, Gate, Observation, Retry, guard

F = TypeVar("F", bound=Callable[..., Any])
In = str | Path | Source | Iterable[Any] | AsyncIterable[Any]
Out = str | Path | Sink | Callable[..., Any]

STEP_RETRY = Retry(attempts=3, base=0.05, cap=1.0, deadline=5.0)
"""The default of a step: short, because what fails longer goes to the durable retry queue and holds nobody up."""


class Pipeline:
    """Records in, one durable outcome each, exactly once.

    ``name`` names its state; ``record`` is the contract of a record (a pydantic model, a JSON Schema, a Contract;
    None takes any JSON); ``key`` is the field, or a function of the record, that identifies it (default: source and
    position). ``ordered_by`` is a field or function: records that agree in it are worked in the order of the input.
    ``concurrency`` is how many records are worked at a time (steps that are not async run in threads); ``rate`` how
    many are begun a second. ``requeue`` is the schedule of the durable retry queue. ``commit_seconds`` is the most
    work, in seconds, that a crash can make it repeat. ``max_rejected`` is the part (0..1) of records refused by the
    contract above which a run halts, judged after 200 records. ``version`` names the code and model in every outcome,
    beside a digest of the steps' source. ``state`` is a folder to look for ``.nightcrew`` in, ``database_url`` a
    database (``sqlite:///FILE``, ``postgresql://...``). ``observe`` is called with each step's Observation.
    """

    def __init__(
        self,
        name: str,
        *,
        record: Any = None,
        key: Key = None,
        ordered_by: Key = None,
        concurrency: int = 1,
        rate: float | None = None,
        requeue: Requeue | None = None,
        commit_seconds: float = 0.25,
        max_rejected: float = 0.5,
        version: str = "",
        state: Path | None = None,
        database_url: str | None = None,
        observe: Callable[[Observation], None] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        if not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise UsageError(f"a pipeline's name is letters, digits, - and _; {name!r} is not")
        if concurrency < 1 or (rate is not None and rate <= 0) or commit_seconds <= 0 or not 0 <= max_rejected <= 1:
            raise UsageError(
                f"pipeline {name}: concurrency is at least 1, rate and commit_seconds above 0, max_rejected in 0..1"
            )
        self.name = name
        self.contract = None if record is None else Contract.of(record)
        self.key = key
        self.ordered_by = ordered_by
        self.limits = Limits(concurrency, rate)
        self.requeue = requeue or Requeue(clock=clock)
        self.commit_seconds = commit_seconds
        self.max_rejected = max_rejected
        self.model_version = version
        self.clock = clock
        self._observe = observe
        self._stages: list[Stage] = []
        self._functions: list[Callable[..., Any]] = []
        self._where = (state, database_url)

    # Declaring ------------------------------------------------------------------------------------------------------

    @overload
    def step(self, function: F, /) -> F: ...
    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = STEP_RETRY,
        timeout: float | None = None,
        fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
        breaker: Breaker | str | None = None,
        returns: Any = None,
        truncate: Any = None,
    ) -> Callable[[F], F]: ...
    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = STEP_RETRY,
        timeout: float | None = None,
        fallback: Callable[..., Any] | Sequence[Callable[..., Any]] | Fallback | None = None,
        breaker: Breaker | str | None = None,
        returns: Any = None,
        truncate: Any = None,
    ) -> Any:
        """Decorator: the next step, guarded; options are those of :func:`nightcrew.reliability.guard`.

        A function of one argument takes what the step before made (the first: the record); one of two takes the record
        and that. The function itself is given back, so that it can be called and tested as it is.
        """

        def add(plain: Callable[..., Any]) -> Callable[..., Any]:
            label = name or str(getattr(plain, "__name__", "step"))
            guarded = guard(
                plain,
                returns=returns,
                retry=retry,
                timeout=timeout,
                fallback=fallback,
                breaker=breaker,
                truncate=truncate,
                observe=self._observe,
                name=f"{self.name}.{label}",
            )
            self._add(Step(label, guarded, parameters(plain) >= 2, inspect.iscoroutinefunction(plain)), plain)
            return plain

        return add if function is None else add(function)

    @overload
    def gate(self, function: F, /) -> F: ...
    @overload
    def gate(
        self, function: None = None, /, *, confidence: float | None = None, sample: float = 0.0, name: str | None = None
    ) -> Callable[[F], F]: ...
    def gate(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        confidence: float | None = None,
        sample: float = 0.0,
        name: str | None = None,
    ) -> Any:
        """Decorator: a gate after the steps so far: ``f(record, value)`` gives the reason to hold the record, or None.

        ``confidence`` (0..1) also holds what is less sure or says nothing; ``sample`` (0..1) holds that part of the
        rest for a blind audit. Without a function use ``add_gate``.
        """

        def add(reason: Callable[..., Any]) -> Callable[..., Any]:
            label = name or str(getattr(reason, "__name__", "gate"))
            self._add(Hold(label, Gate(reason, confidence=confidence, sample=sample)), reason)
            return reason

        return add if function is None else add(function)

    def add_gate(self, *, confidence: float | None = None, sample: float = 0.0, name: str = "gate") -> None:
        """A gate by confidence (0..1) or by sampling rate (0..1) alone."""
        self._add(Hold(name, Gate(confidence=confidence, sample=sample)), None)

    def _add(self, stage: Stage, function: Callable[..., Any] | None) -> None:
        if any(known.name == stage.name for known in self._stages):
            raise UsageError(f"pipeline {self.name} has a stage named {stage.name} already")
        if "chain" in self.__dict__:
            raise UsageError(f"pipeline {self.name} has begun to run; declare {stage.name} before")
        self._stages.append(stage)
        if function is not None:
            self._functions.append(function)

    # What it is -----------------------------------------------------------------------------------------------------

    @cached_property
    def chain(self) -> Chain:
        """Its stages as one call. Raises ConfigurationError if there is no step."""
        if not any(isinstance(stage, Step) for stage in self._stages):
            raise ConfigurationError(f"pipeline {self.name} has no step", hint="Declare one with @pipeline.step")
        return Chain(self._stages)

    @cached_property
    def state(self) -> State:
        """Where its outcomes are kept."""
        start, url = self._where
        return find_state(start, database_url=url, clock=self.clock)

    @cached_property
    def version(self) -> dict[str, Any]:
        """Which code and model make its outcomes: a digest of the steps' source, and the version that was named."""
        sources = [_source(function) for function in self._functions]
        code = hashlib.sha256("\0".join(sources).encode()).hexdigest()
        return {"pipeline": self.name, "code_sha256": code, "version": self.model_version}

    @property
    def version_digest(self) -> str:
        """A short name (16 hexadecimal digits) of ``version``, as it stands in outcomes."""
        text = f"{self.name}\0{self.version['code_sha256']}\0{self.model_version}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def use(self, *, state: Path | None = None, database_url: str | None = None) -> None:
        """Keep outcomes elsewhere. Raises UsageError once they were looked at."""
        if "state" in self.__dict__:
            raise UsageError(f"the state of pipeline {self.name} is open already")
        self._where = (state or self._where[0], database_url or self._where[1])

    def use_default(self, *, state: Path) -> None:
        """Look for the state in ``state``, unless the pipeline was told where it is."""
        if self._where == (None, None) and "state" not in self.__dict__:
            self._where = (state, None)

    def close(self) -> None:
        """Let go of the database."""
        if "state" in self.__dict__:
            self.state.close()
            del self.__dict__["state"]

    # Working --------------------------------------------------------------------------------------------------------

    def run(
        self,
        source: In,
        *,
        sink: Out | None = None,
        new: bool = False,
        max_rejected: float | None = None,
        progress: Callable[[ProgressReport], None] | None = None,
    ) -> Summary:
        """Work every record of ``source``; the same call after a crash goes on where it stood.

        ``source``: a path (.jsonl, .csv, .parquet, a directory), a Source, or any iterable; ``sink``: a path (.jsonl,
        .parquet), a Sink or a function of a Delivery. ``new`` gives up an unfinished run over another content of the
        same source. Raises DriftError when too many records are refused, InputChangedError, BusyError (another process
        runs this pipeline), UsageError and what the store raises; what was done until then is kept.
        """
        from nightcrew.pipeline.execution import run

        return run(self, source, sink=sink, new=new, max_rejected=max_rejected, progress=progress)

    def retry(self, *, everything: bool = False, sink: Out | None = None) -> Summary:
        """Work what is due: retries whose time has come (``everything``: all), what was released, what was approved.

        What is settled goes to the file that its run named; a file given as ``sink`` gets every result of the
        pipeline, any other ``sink`` what it has not had yet. Raises UsageError (it has not run yet), BusyError and
        what the store raises.
        """
        from nightcrew.pipeline.execution import retry

        return retry(self, everything=everything, sink=sink)


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(function) if code is None else code.co_code.hex() + repr(code.co_consts)
