"""Metrics: what ``/metrics`` tells Prometheus."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from jinavec import Encoder

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that makes prometheus_client keep the metrics of several workers in one folder."""
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class BatcherMetrics:
    """The metrics of one model and task."""

    texts: Counter
    waiting: Gauge
    batch: Histogram


class Metrics:
    """All metrics of one server; of several workers, added up."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._shared = os.environ.get(SHARED)
        if self._shared:
            _forget_the_dead(Path(self._shared))
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        self.requests = Counter("jinavec_requests", "Requests answered.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "jinavec_request_seconds", "Time to the answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.under_way = gauge("jinavec_requests_under_way", "Requests not answered yet.")
        self.left = Counter("jinavec_clients_left", "Requests whose client left before the answer.", registry=registry)
        self._texts = Counter("jinavec_texts", "Texts embedded.", ("model", "task"), registry=registry)
        self._waiting = gauge("jinavec_waiting_tokens", "Tokens that wait.", ("model", "task"))
        self._batch = Histogram(
            "jinavec_batch_texts", "Texts of a batch.", ("model", "task"), buckets=_TEXTS, registry=registry
        )

    def of(self, encoder: Encoder) -> BatcherMetrics:
        """Return the metrics of a model and task."""
        labels = (encoder.profile.name, encoder.task.value)
        return BatcherMetrics(self._texts.labels(*labels), self._waiting.labels(*labels), self._batch.labels(*labels))

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        if not self._shared:
            return generate_latest(self._registry)
        of_all = CollectorRegistry()
        multiprocess.MultiProcessCollector(of_all, self._shared)
        return generate_latest(of_all)


def _forget_the_dead(folder: Path) -> None:
    """Take back what workers that were killed had under way."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(pid, str(folder))  # pyright: ignore[reportUnknownMemberType]
