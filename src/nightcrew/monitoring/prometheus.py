"""The measures in the text format of Prometheus.

Counters are sums of everything since the ledger began, whoever wrote it and whatever was merged or deleted since, so
that they only rise. Summaries have quantiles of the last five minutes, merged over all processes.
"""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from nightcrew.monitoring.families import Families, Family
from nightcrew.store.store import Store


class Exposition:
    """Renders what a store holds; keep it, and each call after the first reads only what is new."""

    def __init__(self) -> None:
        self._families = Families()

    def text(self, store: Store) -> bytes:
        """In the plain format, as node_exporter's textfile collector reads it."""
        return generate_latest(self._registry(store))

    def negotiated(self, store: Store, accept: str) -> tuple[bytes, str]:
        """In the best format of those that a scraper accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry(store)), content_type

    def _registry(self, store: Store) -> CollectorRegistry:
        with store.read() as tx:
            families = self._families.read(tx)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Read(families))
        return registry


class _Read(Collector):
    """Gives families that were read."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not claimed beforehand."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        return [_metric(family) for family in self._families if family.values or family.distributed]


def _metric(family: Family) -> Metric:
    made = Metric(family.name, family.text, family.kind)
    suffix = "_total" if family.kind == "counter" else ""
    for labels, value in family.values.items():
        made.add_sample(family.name + suffix, dict(labels), value)
    for labels, found in family.distributed.items():
        for rank, value in found.quantiles.items():
            made.add_sample(family.name, {**dict(labels), "quantile": str(rank)}, value)
        made.add_sample(f"{family.name}_sum", dict(labels), found.total)
        made.add_sample(f"{family.name}_count", dict(labels), found.number)
    return made
