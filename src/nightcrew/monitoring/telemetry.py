"""Traces: what ran when within what, sent by OpenTelemetry where the user's environment says to, and else nowhere.

Off unless the standard variables ask for it (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_EXPORTER`` and the like:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Off, a span costs a fraction of a
microsecond and nothing is imported.

A shift or a run is one trace, over as many processes, machines and restarts as it takes: the ids of its trace and of
its durable spans are made from its own id. A durable span is sent when what it is of ends, by the process that ends it;
a process that is killed sends nothing, and the one that goes on from there sends it whole.

Where logs are written as JSON (``monitoring.logs``), each span that ends is also an entry there, with the same ids.
"""

import atexit
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from datetime import datetime
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import SpanContext

Value = str | int | float | bool | None
_LOG = logging.getLogger("nightcrew.trace")
_DETAILS = frozenset({"record", "step"})
"""Spans whose ends are logged for debugging only."""

_PREFIX = "nightcrew."
_LAST_SECONDS = 5.0


class Ids(NamedTuple):
    """Where the code that runs is, in hexadecimal: its trace, and its span (empty if no spans are sent)."""

    trace: str
    span: str


class Span(Protocol):
    """What is being done. Names of attributes without a dot are nightcrew's own."""

    def __enter__(self) -> "Span":
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End; an exception that passes is noted by the name of its class, for its text may hold what is secret."""

    def set(self, **attributes: Value) -> None:
        """Add attributes; None is left out."""

    def failed(self, kind: str) -> None:
        """It failed, without an exception; ``kind`` is a class of failure."""


def span(name: str, /, **attributes: Value) -> Span:
    """A context manager around something that is done within what is being done now.

    No attribute may hold a secret, a prompt, a record or an answer: they leave this machine.
    """
    return _now.span(name, attributes)


def whole(state: str, *path: str, started: datetime, **attributes: Value) -> Span:
    """A context manager around the last process's part of something durable: a shift, a session, a run.

    ``state`` is the repository's id; ``path`` leads from what the trace is of to what this is, such as
    ``shift:N-0003``, ``session:S-0007``. Its span begins at ``started``, whichever process that was in.
    """
    return _now.whole(state, path, started, attributes)


def within(state: str, *path: str) -> AbstractContextManager[object]:
    """A context manager in which spans belong to something durable, whichever thread or process works it."""
    return _now.within(state, path)


def here() -> object:
    """Where this is, to be given to :func:`under` in another thread; None if telemetry is off."""
    return _now.here()


def under(place: object) -> AbstractContextManager[object]:
    """A context manager in which spans belong to what ``place`` is within."""
    return _now.under(place)


def is_on() -> bool:
    """Whether spans go anywhere: for callers that would have to work for their attributes."""
    return _decided().on


def ids() -> Ids | None:
    """The trace and span that this code runs in, if telemetry or logs know of one."""
    return _current.get()


def trace_id_of(state: str, name: str) -> str:
    """The trace id (32 hexadecimal digits) of ``run:7`` or ``shift:N-0003`` of the repository with the id ``state``."""
    return _digest(state, name)[:32]


class Patience:
    """How long what ends may still wait for a collector: for spans and metrics together, not for each of them."""

    def __init__(self, seconds: float) -> None:
        self._whole = self.left = seconds

    def renew(self) -> None:
        """Something else has begun, whose end may wait as long again."""
        self.left = self._whole

    def wait(self, done: Event, *, keep: float = 0.0) -> bool:
        """Wait until ``done`` is set or no time is left but ``keep`` seconds; gives whether it is set."""
        began = time.monotonic()
        answered = done.wait(max(0.0, self.left - keep))
        self.left = max(0.0, self.left - (time.monotonic() - began))
        return answered


patience = Patience(_LAST_SECONDS)
"""That of this process: five seconds for the end of what it does last and its own."""


def flush(seconds: float = _LAST_SECONDS) -> None:
    """Send what waits: for a process that may be ended without warning. Waits at most so long; never raises."""
    _now.flush(seconds)


def configure(*, logs: bool = False) -> None:
    """Look at the environment now, not at the first span; ``logs`` says that ends of spans are logged."""
    global _now
    _now.close()
    patience.renew()
    provider = _provider() if asked_for("TRACES") else None
    _now = _On(provider, logs) if provider is not None or logs else _Off()


def asked_for(signal: str) -> bool:
    """Whether the environment asks that TRACES or METRICS be sent."""
    environment = os.environ
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    if not exporter:
        named = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        return any(environment.get(name, "").strip() for name in named)
    if exporter == "none":
        return False
    if exporter != "otlp":
        _LOG.warning("OTEL_%s_EXPORTER: nightcrew sends by otlp alone; nothing is sent", signal)
        return False
    return True


def speaks_http(signal: str) -> bool:
    """Whether the protocol that is asked for is one of those that we have; a warning if not."""
    names = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((found for name in names if (found := os.environ.get(name, "").strip())), "http/protobuf")
    if protocol != "http/protobuf":
        _LOG.warning("nightcrew sends telemetry by http/protobuf, not by %s; nothing is sent", protocol[:40])
        return False
    return True


class _Nothing:
    """A span that is not there."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, **_: Value) -> None:
        """See Span."""

    def failed(self, kind: str) -> None:
        """See Span."""


_NOTHING = _Nothing()


class _Off:
    """Telemetry is off."""

    on = False

    def span(self, _name: str, _attributes: Mapping[str, Value]) -> Span:
        return _NOTHING

    def whole(self, _state: str, _path: tuple[str, ...], _started: datetime, _attributes: Mapping[str, Value]) -> Span:
        return _NOTHING

    def within(self, _state: str, _path: tuple[str, ...]) -> AbstractContextManager[object]:
        return _NOTHING

    def here(self) -> object:
        return None

    def under(self, _place: object) -> AbstractContextManager[object]:
        return _NOTHING

    def flush(self, _seconds: float) -> None:
        return None

    def close(self) -> None:
        return None


class _Undecided(_Off):
    """Nobody has looked at the environment yet; the first who asks does."""

    def span(self, name: str, attributes: Mapping[str, Value]) -> Span:
        return _decided().span(name, attributes)

    def whole(self, state: str, path: tuple[str, ...], started: datetime, attributes: Mapping[str, Value]) -> Span:
        return _decided().whole(state, path, started, attributes)

    def within(self, state: str, path: tuple[str, ...]) -> AbstractContextManager[object]:
        return _decided().within(state, path)

    def here(self) -> object:
        return _decided().here()


class _On(_Off):
    """Spans are sent, logged, or both."""

    on = True

    def __init__(self, provider: "TracerProvider | None", logs: bool) -> None:
        self.provider = provider
        self.tracer = None if provider is None else provider.get_tracer("nightcrew")
        self.logs = logs
        self._sending = None if provider is None else _Sending(provider)
        if provider is not None:
            atexit.register(self.close)

    def span(self, name: str, attributes: Mapping[str, Value]) -> Span:
        return _Live(self, name, attributes)

    def whole(self, state: str, path: tuple[str, ...], started: datetime, attributes: Mapping[str, Value]) -> Span:
        return _Whole(self, state, path, started, attributes)

    def within(self, state: str, path: tuple[str, ...]) -> AbstractContextManager[object]:
        return _Placed(self, self._context(state, path[0], path[-1]), Ids(*_ids(state, path[0], path[-1])))

    def here(self) -> object:
        from_otel = None
        if self.tracer is not None:
            from opentelemetry.trace import get_current_span

            from_otel = get_current_span().get_span_context()
        return from_otel, _current.get()

    def under(self, place: object) -> AbstractContextManager[object]:
        if not isinstance(place, tuple):
            return _NOTHING
        return _Placed(self, place[0], place[1])

    def flush(self, seconds: float) -> None:
        if self._sending is not None:
            self._sending.flush(seconds)

    def close(self) -> None:
        if self._sending is not None:
            self._sending.close()
            atexit.unregister(self.close)

    def _context(self, state: str, trace: str, name: str) -> "SpanContext | None":
        """The durable span of that name as a parent, sampled as its whole trace is."""
        if self.provider is None:
            return None
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import SpanContext, TraceFlags

        trace_id, span_id = (int(one, 16) for one in _ids(state, trace, name))
        sampled = self.provider.sampler.should_sample(None, trace_id, _kind(trace)).decision
        flags = TraceFlags(TraceFlags.SAMPLED if sampled is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


class _Sending:
    """A thread that waits for the collector, so that nobody else has to for longer than he wants.

    The SDK flushes and shuts down for as long as the collector keeps it, whatever time it is given. The thread is there
    from the beginning: none can be started while the interpreter ends.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._asked: SimpleQueue[tuple[Callable[[], object], Event]] = SimpleQueue()
        self._late: Event | None = None
        self._closed = False
        Thread(target=self._work, name="spans", daemon=True).start()

    def flush(self, seconds: float) -> None:
        """Send what waits; waits at most so long, and not again for a collector that has not answered since."""
        if self._late is None or self._late.is_set():
            done = self._ask(self._provider.force_flush)
            self._late = None if done.wait(seconds) else done

    def close(self) -> None:
        """Send what waits and end, in the time that is left to the process."""
        if self._closed:
            return
        self._closed = True
        if not patience.wait(self._ask(self._provider.shutdown)):
            _LOG.warning("the collector does not answer: the last spans were not sent")

    def _ask(self, call: Callable[[], object]) -> Event:
        done = Event()
        self._asked.put((call, done))
        return done

    def _work(self) -> None:
        while True:
            call, done = self._asked.get()
            with suppress(Exception):  # Whatever the collector does, the work goes on.
                call()
            done.set()
            if self._closed and self._asked.empty():
                return


class _Placed:
    """Within a durable span, or one of another thread."""

    def __init__(self, on: _On, context: "SpanContext | None", ids: Ids | None) -> None:
        self._on = on
        self._context = context
        self._ids = ids

    def __enter__(self) -> Self:
        self._token = _current.set(self._ids)
        self._attached = None if self._context is None else _attach_remote(self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._attached is not None:
            _detach(self._attached)
        _current.reset(self._token)


class _Live:
    """A span of this process."""

    def __init__(self, on: _On, name: str, attributes: Mapping[str, Value]) -> None:
        self._on = on
        self._name = name
        self._attributes = _named(attributes)
        self._failed: str | None = None
        self._span: OtelSpan | None = None

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        before = _current.get()
        found = before or Ids("", "")
        self._attached = None
        if self._on.tracer is not None:
            from opentelemetry.trace import format_span_id, format_trace_id, set_span_in_context

            self._span = self._on.tracer.start_span(
                self._name, kind=_client(self._attributes), attributes=self._attributes
            )
            context = self._span.get_span_context()
            found = Ids(format_trace_id(context.trace_id), format_span_id(context.span_id))
            self._attached = _attach(set_span_in_context(self._span))
        self._token = _current.set(found)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._failed = type(error).__name__
        if self._span is not None:
            _end(self._span, self._failed)
            _detach(self._attached)
        if self._on.logs:
            _log(self._name, self._attributes, time.perf_counter() - self._began, self._failed, error)
        _current.reset(self._token)

    def set(self, **attributes: Value) -> None:
        """See Span."""
        named = _named(attributes)
        self._attributes.update(named)
        if self._span is not None:
            self._span.set_attributes(named)

    def failed(self, kind: str) -> None:
        """See Span."""
        self._failed = kind


class _Whole(_Placed):
    """A durable span: what is done within it is its children, and it is itself sent when it ends."""

    def __init__(
        self, on: _On, state: str, path: tuple[str, ...], started: datetime, attributes: Mapping[str, Value]
    ) -> None:
        found = Ids(*_ids(state, path[0], path[-1]))
        super().__init__(on, on._context(state, path[0], path[-1]), found)
        self._found = found
        self._parent = on._context(state, path[0], path[-2]) if len(path) > 1 else None
        self._name, self._started = _kind(path[-1]), started
        self._attributes = _named(
            {**{f"{_PREFIX}{_kind(one)}.id": one.partition(":")[2] for one in path}, **attributes}
        )
        self._failed: str | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._failed = type(error).__name__
        # An interruption is no end: somebody goes on with it, and ends it.
        if error is None or isinstance(error, Exception):
            self._send()
            if self._on.logs:
                seconds = time.time() - self._started.timestamp()
                _log(self._name, self._attributes, seconds, self._failed, error)
        super().__exit__(kind, error, at)

    def set(self, **attributes: Value) -> None:
        """See Span."""
        self._attributes.update(_named(attributes))

    def failed(self, kind: str) -> None:
        """See Span."""
        self._failed = kind

    def _send(self) -> None:
        if self._on.tracer is None:
            return
        from opentelemetry.context import Context
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        context = Context()
        if self._parent is not None:
            context = set_span_in_context(NonRecordingSpan(self._parent), context)
        token = _wanted.set((int(self._found.trace, 16), int(self._found.span, 16)))
        try:
            made = self._on.tracer.start_span(
                self._name, context, attributes=self._attributes, start_time=int(self._started.timestamp() * 1e9)
            )
        finally:
            _wanted.reset(token)
        _end(made, self._failed)


def _decided() -> _Off:
    if isinstance(_now, _Undecided):
        configure()
    return _now


def _provider() -> "TracerProvider | None":
    """Our own: what an application has set up for itself is left as it is."""
    if not speaks_http("TRACES"):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError:
        _LOG.warning("telemetry is asked for but not installed: pip install 'nightcrew[telemetry]'")
        return None

    class Ids_(RandomIdGenerator):
        """Random, but for durable spans."""

        def generate_trace_id(self) -> int:
            wanted = _wanted.get()
            return wanted[0] if wanted is not None else super().generate_trace_id()

        def generate_span_id(self) -> int:
            wanted = _wanted.get()
            return wanted[1] if wanted is not None else super().generate_span_id()

    # It is shut down by us, who do not wait as long as its own way at the end of the process.
    provider = TracerProvider(resource=resource(), id_generator=Ids_(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def resource(**more: str) -> Any:
    """What the telemetry is of: this program, under the name that the environment gives it."""
    from importlib.metadata import version

    from opentelemetry.sdk.resources import Resource

    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create(
        {**({} if named else {"service.name": "nightcrew"}), "service.version": version("nightcrew"), **more}
    )


def _log(name: str, attributes: Mapping[str, Any], seconds: float, failed: str | None, error: object) -> None:
    extra = {**attributes, "seconds": round(seconds, 6)}
    if failed is not None:
        extra["error.type"] = failed
        if error is not None:
            extra["error"] = str(error)[:500]
    level = logging.DEBUG if name in _DETAILS else logging.INFO if failed is None else logging.ERROR
    _LOG.log(level, name, extra=extra)


def _end(found: "OtelSpan", failed: str | None) -> None:
    if failed is not None:
        from opentelemetry.trace import StatusCode

        found.set_attribute("error.type", failed)
        found.set_status(StatusCode.ERROR)
    found.end()


def _attach(context: Any) -> Any:
    from opentelemetry.context import attach

    return attach(context)


def _attach_remote(context: "SpanContext") -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return _attach(set_span_in_context(NonRecordingSpan(context), Context()))


def _detach(token: Any) -> None:
    from opentelemetry.context import detach

    detach(token)


def _client(attributes: Mapping[str, Any]) -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind.CLIENT if "gen_ai.operation.name" in attributes else SpanKind.INTERNAL


def _named(attributes: Mapping[str, Value]) -> dict[str, Any]:
    return {key if "." in key else _PREFIX + key: value for key, value in attributes.items() if value is not None}


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _ids(state: str, trace: str, name: str) -> tuple[str, str]:
    return trace_id_of(state, trace), _digest(state, trace, "span", name)[:16]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(("nightcrew trace", *parts)).encode()).hexdigest()


_current: ContextVar[Ids | None] = ContextVar("nightcrew_trace", default=None)
_wanted: ContextVar[tuple[int, int] | None] = ContextVar("nightcrew_wanted_ids", default=None)
_now: _Off = _Undecided()
