"""Prometheus metrics of the service's requests and of the store (docs/metrics.md)."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from costcurve.store.queue_stats import QueueStats

_LATENCY_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Other methods share one series: a client must not create a series for each name that it makes up.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """The metrics of one application."""

    def __init__(self, *, version: str) -> None:
        disable_created_metrics()  # one more series for each metric, which is not used
        self.registry = CollectorRegistry()
        self._latency = Histogram(
            "costcurve_http_request_duration_seconds",
            "Time from the arrival of a request to the end of its response.",
            ["method", "route", "status"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("costcurve_http_requests_in_flight", "Requests in progress.", registry=self.registry)
        build = Gauge(
            "costcurve_build_info", "Always 1; the label is the running version.", ["version"], registry=self.registry
        )
        build.labels(version).set(1)
        # Statistics of the store; None if it does not respond.
        self.fleet: QueueStats | None = None
        self.registry.register(_StoreCollector(self))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one request and its duration.

        Args:
            method: as the client sent it.
            route: the template of the route, never the path itself.
            status: of the response.
            seconds: duration of the request.
        """
        method = method if method in _METHODS else "other"
        self._latency.labels(method, route, f"{status // 100}xx").observe(seconds)


class _StoreCollector(Collector):
    """Collector of the store's latest statistics.

    If the store does not respond, it reports only that.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return no metrics, so that registering does not query the store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        fleet = self._metrics.fleet
        up = GaugeMetricFamily("costcurve_store_up", "1 if the store answers, else 0.")
        up.add_metric([], float(fleet is not None))
        yield up
        if fleet is None:
            return
        yield _by(
            "costcurve_jobs",
            "Jobs in the store.",
            "status",
            {status.value: count for status, count in fleet.jobs.items()},
        )
        yield _by("costcurve_queue_depth", "Waiting jobs, by requested device.", "device", fleet.depth)
        text = "Time since the first job in the queue was submitted."
        yield _by("costcurve_queue_age_seconds", text, "device", fleet.age)
        yield _by("costcurve_workers", "Live workers.", "device", fleet.workers)
        text = "Time since the last heartbeat of a worker that is not retired."
        yield _by("costcurve_worker_heartbeat_age_seconds", text, "worker", fleet.heartbeats)


def _by(name: str, text: str, label: str, figures: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, figure in figures.items():
        family.add_metric([value], figure)
    return family
