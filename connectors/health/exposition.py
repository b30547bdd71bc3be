"""Samples in Prometheus's text form."""

from collections.abc import Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.metrics import BY_NAME, Buckets, Kind, Metric, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposed(samples: Iterable[Sample]) -> bytes:
    """``samples`` as a scrape. Raises Fatal for a metric that is not in the catalogue."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(samples)))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        families: dict[str, Family] = {}
        for metric, value, labels in self._samples:
            if BY_NAME.get(metric.name) is not metric:
                raise Fatal("a metric that the catalogue lacks", value=metric.name, remedy="add it there")
            family = families.get(metric.name)
            if family is None:
                family = families[metric.name] = _family(metric)
            if isinstance(value, Buckets):
                assert isinstance(family, HistogramMetricFamily)
                family.add_metric(labels, list(value.cumulative()), value.total)
            else:
                assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
                family.add_metric(labels, float(value))
        yield from families.values()


def _family(metric: Metric) -> Family:
    made: Family = {
        Kind.COUNTER: CounterMetricFamily,
        Kind.GAUGE: GaugeMetricFamily,
        Kind.HISTOGRAM: HistogramMetricFamily,
    }[metric.kind](metric.name, metric.help, labels=metric.labels)
    return made
