"""What a server counts, and its page for Prometheus.

The names, labels and bounds of `:tensorflow:serving:...` are TensorFlow Serving's
(a slash in its own names becomes a colon there), so that dashboards made for it
work; latencies are microseconds, and of answered calls only. What it does not
have stands under `:segue:serving:...`.

A server always counts; whether anybody may look is the configuration's matter.
Each server has a registry of its own, so several in one process do not mix.
Labels hold model names that are served and nothing else a caller sends: names
made up by callers would each take memory for ever.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable, Iterator

import prometheus_client
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from serving.manager import State, VersionStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_COUNT = ":tensorflow:serving:request_count"
# Bounds of the binary's latency histograms: 10 us to 33 minutes, by factors of 1.8,
# with the six digits it prints.
_LATENCIES = tuple(float(f"{10 * 1.8**i:.6g}") for i in range(33))
_BATCHES = tuple(2**i for i in range(13))

Statuses = Callable[[], Iterable[tuple[str, Iterable[VersionStatus]]]]


class Metrics:
    """The counters of one server; safe to use from any thread."""

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._statuses: Statuses = tuple
        self._served: set[str] = set()
        self._requests = prometheus_client.Counter(
            _REQUEST_COUNT,
            "The total number of requests.",
            ("model_name", "status"),
            registry=self._registry,
        )
        self._latency = self._histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ("model_name", "API", "entrypoint"),
            _LATENCIES,
        )
        self._runtime = self._histogram(
            ":tensorflow:serving:runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            ("model_name", "API", "runtime"),
            _LATENCIES,
        )
        self._rows = self._histogram(
            ":segue:serving:batch_size",
            "Rows that were computed together, a run.",
            ("model_name", "signature"),
            _BATCHES,
        )
        self._events = prometheus_client.Counter(
            ":segue:serving:events_generated",
            "Musical events in answers.",
            ("model_name",),
            registry=self._registry,
        )
        self._queue = self._gauge(
            ":segue:serving:queue_length", "Requests of all models that wait for a batch.", ()
        )
        self._songs = self._gauge(
            ":segue:serving:songs_under_way", "Songs that are being made or wait for a run.", ()
        )
        self._in_flight = self._gauge(
            ":segue:serving:calls_in_flight", "Calls that are being answered.", ("entrypoint",)
        )
        self._lock = threading.Lock()
        self._inside: collections.Counter[str] = collections.Counter()
        self._registry.register(self)

    def watch(self, statuses: Statuses) -> None:
        """Sets where the page finds the models' versions: pairs of name and statuses."""
        self._statuses = statuses

    def call_began(self, entrypoint: str) -> None:
        """A call is being answered (`GRPC` or `REST`)."""
        self._in_flight.labels(entrypoint).inc()
        with self._lock:
            self._inside[entrypoint] += 1

    def calls_inside(self, entrypoint: str) -> int:
        """Calls that are being answered now."""
        with self._lock:
            return self._inside[entrypoint]

    def call_ended(
        self, entrypoint: str, api: str, model: str, status: str, seconds: float, counted: bool
    ) -> None:
        """A call was answered.

        Args:
          entrypoint: as in `call_began`.
          api: the method, as its entrypoint spells it: `Predict`, `predict`.
          model: the name that was asked for, served or not.
          status: the code's name; the latency of `OK` alone is kept.
          seconds: how long it took.
          counted: whether request_count has it; the binary leaves out gRPC's
            metadata and status calls.
        """
        self._in_flight.labels(entrypoint).dec()
        with self._lock:
            self._inside[entrypoint] -= 1
        if not counted:
            return
        model = self._known(model)
        self._requests.labels(model, status).inc()
        if status == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def observe_run(
        self, model: str, signature: str, rows: int, seconds: float | None = None
    ) -> None:
        """A run of the graph ended; `rows` is what it computed together."""
        self._rows.labels(model, signature).observe(rows)
        if seconds is not None:
            self._runtime.labels(model, "Predict", "TF1").observe(seconds * 1e6)

    def count_events(self, model: str, count: int) -> None:
        """That many musical events were generated and answered."""
        self._events.labels(model).inc(count)

    def set_queue(self, length: int) -> None:
        """That many requests wait for a batch now."""
        self._queue.set(length)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """As `set_queue`, but asked for when somebody looks."""
        self._queue.set_function(length)

    def watch_songs(self, count: Callable[[], int]) -> None:
        """Sets what is asked for the songs under way when somebody looks."""
        self._songs.set_function(count)

    def page(self) -> bytes:
        """All of it in Prometheus' text format 0.0.4 (`CONTENT_TYPE`)."""
        text = prometheus_client.generate_latest(_Plain(self._registry))
        # The library gives every counter the suffix that OpenMetrics demands, and
        # the binary's counter has none.
        return text.replace(f"{_REQUEST_COUNT}_total".encode(), _REQUEST_COUNT.encode())

    def collect(self) -> Iterator[Metric]:
        """Asked by the registry: what is read when somebody looks."""
        states = GaugeMetricFamily(
            ":segue:serving:model_version_state",
            "1 for the state that a version of a model is in.",
            labels=("model_name", "version", "state"),
        )
        for name, statuses in self._statuses():
            for status in statuses:
                # A server that runs for a year has seen many versions come and go.
                if status.state != State.END or status.error:
                    states.add_metric((name, str(status.version), status.state.name), 1)
        yield states

    def describe(self) -> Iterator[Metric]:
        """Asked by the registry, which wants the names before there is a value."""
        yield GaugeMetricFamily(":segue:serving:model_version_state", "")

    def _known(self, model: str) -> str:
        """The name, if a model of that name is or was served."""
        if model not in self._served:
            self._served |= {name for name, _ in self._statuses()}
        return model if model in self._served else ""

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            name, text, labels, buckets=bounds, registry=self._registry
        )

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(name, text, labels, registry=self._registry)


class _Plain:
    """A registry without the `_created` times, which the binary does not have."""

    def __init__(self, registry: prometheus_client.CollectorRegistry):
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric
