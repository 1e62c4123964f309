"""Calibration: the least effort that finds enough of what an exact search finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np

from jinavec.vectors import Float32, normalize, unpack
from jinavec_integrations.faiss.hamming import pool
from jinavec_integrations.faiss.plan import Effort
from jinavec_integrations.faiss.rowfile import Rows
from jinavec_integrations.faiss.search import View, best

_BLOCK = 16_384
"""Rows scored exactly at a time."""
_NOISE = 0.75
"""The length of the noise added to a stored unit vector to make a query of it: their cosine is 0.8."""


@dataclass(frozen=True)
class Calibration:
    """What calibration found."""

    effort: Effort
    recall: float
    """The share of the exact best k that a search with this effort finds."""
    target: float
    k: int
    queries: int

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        return self.recall >= self.target

    def __str__(self) -> str:
        effort = self.effort
        found = f"recall@{self.k} {self.recall:.3f} of {self.target:g}{'' if self.reached else ' (the most possible)'}"
        work = f"probes {effort.probes}, candidates {effort.candidates}, rows {effort.rows}"
        return f"{found} with {work} ({self.queries} queries)"


def calibrate(view: View, queries: Float32, k: int, target: float, start: Effort) -> Calibration:
    """Return the least effort, in steps of about a half, that reaches a recall; the greatest, where none does.

    Args:
        view: what may be found.
        queries: (n, dimension) unit vectors that are not in the index themselves.
        k: the results that count.
        target: the recall to reach.
        start: the default effort of the index.
    """
    truth = _exact(view, queries, min(k, view.count))
    lists = 0 if view.layout.lists is None else len(view.layout.lists.centroids)
    calibration = None
    for effort in _ladder(view, start, lists):
        found = pool().map(best, repeat(view), queries, repeat(k), repeat(effort))
        shares = [len(exact & set(rows.tolist())) / len(exact) for (rows, _), exact in zip(found, truth, strict=True)]
        recall = float(np.mean(shares))
        calibration = Calibration(effort, recall, target, k, len(queries))
        if calibration.reached:
            return calibration
    assert calibration is not None, "the ladder has steps"
    return calibration


def held_out(view: View, count: int, seed: int) -> Float32:
    """Return queries (n, dimension): stored vectors, each with noise, so that none of them is in the index."""
    random = np.random.default_rng(seed)
    numbers = np.arange(view.places) if view.passing is None else np.flatnonzero(view.passing)
    places = numbers if view.passing is None else view.layout.places_of(numbers)
    chosen = np.sort(random.choice(places, min(count, len(places)), replace=False))
    dimension = view.layout.manifest.contract.dimension
    stored = _floats(view, chosen)
    return normalize(stored + _NOISE * normalize(random.standard_normal((len(chosen), dimension))))


def _ladder(view: View, start: Effort, lists: int) -> Iterator[Effort]:
    """Yield efforts, the cheapest first: more of everything, step by step."""
    effort = replace(start, probes=max(1, start.probes // 16), candidates=max(40, start.candidates // 8), rows=10)
    while True:
        yield effort
        if min(effort.candidates, effort.rows) >= view.count and effort.probes >= lists:
            return
        effort = Effort(
            min(max(lists, 1), effort.probes + effort.probes // 2 + 1),
            min(view.count, effort.candidates + effort.candidates // 2 + 1),
            min(view.count, effort.rows + effort.rows // 2),
        )


def _exact(view: View, queries: Float32, k: int) -> list[set[int]]:
    """Return the numbers of the best k for each query, by the best copy there is of all vectors."""
    numbers = np.arange(view.places) if view.passing is None else np.flatnonzero(view.passing)
    places = np.sort(numbers if view.passing is None else view.layout.places_of(numbers))
    scores, found = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        scores = np.concatenate([scores, queries @ _floats(view, block).T], axis=1)
        found = np.concatenate([found, np.broadcast_to(block, (len(queries), len(block)))], axis=1)
        if scores.shape[1] > k:
            kept = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores, found = np.take_along_axis(scores, kept, 1), np.take_along_axis(found, kept, 1)
    return [set(view.layout.numbers_at(row).tolist()) for row in found]


def _floats(view: View, places: Rows) -> Float32:
    layout = view.layout
    if layout.vectors is not None:
        return normalize(layout.vectors.read(places))
    return normalize(unpack(layout.codes.read(places))[:, : layout.manifest.contract.dimension])
