"""A collector on loopback that decodes what it is sent by OTLP over HTTP, as the protocol's own definition says."""

import gzip
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """One span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    kind: int
    failed: bool
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What came: spans, metrics by name, and every byte."""

    url: str
    status: int = 200
    spans: list[Seen] = field(default_factory=list)
    metrics: dict[str, list[tuple[dict[str, Any], float]]] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)
    starts: set[int] = field(default_factory=set)
    raw: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Seen:
        [found] = self.named(name)
        return found


def _attributes(given: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in given}


class _Handler(BaseHTTPRequestHandler):
    collector: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.collector.raw.append(body)
        if self.collector.status == 200:
            (self._traces if self.path == "/v1/traces" else self._metrics)(body)
        self.send_response(self.collector.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _traces(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.collector.resources.append(_attributes(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.collector.spans += [
                    Seen(
                        span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                        span.start_time_unix_nano, span.end_time_unix_nano, span.kind, span.status.code == 2,
                        _attributes(span.attributes),
                    )
                    for span in scope.spans
                ]  # fmt: skip

    def _metrics(self, body: bytes) -> None:
        assert self.path == "/v1/metrics"
        self.collector.metrics = {}
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            self.collector.resources.append(_attributes(resource.resource.attributes))
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    if metric.WhichOneof("data") == "sum":
                        assert data.is_monotonic
                        assert data.aggregation_temporality == 2
                        self.collector.starts |= {point.start_time_unix_nano for point in data.data_points}
                    self.collector.metrics[metric.name] = [
                        (_attributes(point.attributes), point.as_double) for point in data.data_points
                    ]

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collector() -> Iterator[Collector]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"collector": found})
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Silent:
    """A collector that takes what it is sent and never answers."""

    url: str
    taken: list[socket.socket] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)

    def waiting(self, *, least: int) -> bool:
        """Whether so many of its clients have not hung up."""
        assert self.came.wait(30)
        return sum(not _hung_up(one) for one in self.taken) >= least


def _hung_up(one: socket.socket) -> bool:
    while select.select([one], [], [], 0)[0]:
        if not one.recv(65536):
            return True
    return False


@contextmanager
def silent_collector() -> Iterator[Silent]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Silent(f"http://127.0.0.1:{server.getsockname()[1]}")

        def accept() -> None:
            while True:
                try:
                    found.taken.append(server.accept()[0])
                except OSError:
                    return
                found.came.set()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for one in found.taken:
                one.close()
