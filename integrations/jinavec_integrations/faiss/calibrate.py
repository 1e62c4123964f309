"""Calibration: the least search parameters that find enough of what an exact search finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from jinavec.vectors import Float32, normalize
from jinavec_integrations.faiss.parameters import SearchParameters
from jinavec_integrations.faiss.search.pipeline import best
from jinavec_integrations.faiss.search.view import View

_BLOCK = 16_384
"""Rows scored exactly at a time."""
_NOISE = 0.75
"""The length of the noise added to a stored unit vector to make a query of it: their cosine is 0.8."""


@dataclass(frozen=True)
class Calibration:
    """What calibration found."""

    parameters: SearchParameters
    recall: float
    """The share of the exact best k that a search with these parameters finds."""
    target: float
    k: int
    queries: int

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        return self.recall >= self.target

    def __str__(self) -> str:
        found = f"recall@{self.k} {self.recall:.3f} of {self.target:g}{'' if self.reached else ' (the most possible)'}"
        work = ", ".join(f"{name} {value}" for name, value in asdict(self.parameters).items())
        return f"{found} with {work} ({self.queries} queries)"


def calibrate(view: View, queries: Float32, k: int, target: float, start: SearchParameters) -> Calibration:
    """Return the least parameters, in steps of about a half, that reach a recall; the greatest, where none do.

    Args:
        view: what may be found.
        queries: (n, dimension) unit vectors that are not in the index themselves.
        k: the results that count.
        target: the recall to reach.
        start: the default parameters of the index.
    """
    truth = _exact(view, queries, min(k, view.count))
    calibration = None
    for parameters in _ladder(view, start, view.layout.manifest.plan.nlist):
        found = best(view, queries, k, parameters)
        shares = [
            len(exact & set(docids.tolist())) / len(exact) for (docids, _), exact in zip(found, truth, strict=True)
        ]
        calibration = Calibration(parameters, float(np.mean(shares)), target, k, len(queries))
        if calibration.reached:
            return calibration
    assert calibration is not None, "the ladder has steps"
    return calibration


def held_out(view: View, count: int, seed: int) -> Float32:
    """Return queries (n, dimension): stored vectors, each with noise, so that none of them is in the index."""
    random = np.random.default_rng(seed)
    slots = view.all_slots
    chosen = np.sort(random.choice(slots, min(count, len(slots)), replace=False))
    stored = view.layout.vectors_at(chosen)
    return normalize(stored + _NOISE * normalize(random.standard_normal(stored.shape)))


def _ladder(view: View, start: SearchParameters, nlist: int) -> Iterator[SearchParameters]:
    """Yield parameters, the cheapest first: more of everything, step by step."""
    nprobe, candidates, rescore = max(1, start.nprobe // 16), max(40, start.candidates // 8), 10
    while True:
        yield SearchParameters(nprobe, candidates, rescore)
        if min(candidates, rescore) >= view.count and nprobe >= nlist:
            return
        nprobe = min(max(nlist, 1), nprobe + nprobe // 2 + 1)
        candidates = min(view.count, candidates + candidates // 2 + 1)
        rescore = min(view.count, rescore + rescore // 2)


def _exact(view: View, queries: Float32, k: int) -> list[set[int]]:
    """Return the docids of the best k for each query, by the best copy there is of all vectors."""
    slots = view.all_slots
    scores, found = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(slots), _BLOCK):
        block = slots[start : start + _BLOCK]
        scores = np.concatenate([scores, queries @ view.layout.vectors_at(block).T], axis=1)
        found = np.concatenate([found, np.broadcast_to(block, (len(queries), len(block)))], axis=1)
        if scores.shape[1] > k:
            kept = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores, found = np.take_along_axis(scores, kept, 1), np.take_along_axis(found, kept, 1)
    return [set(view.layout.docids_at(row).tolist()) for row in found]
