"""Lists: rows around centroids that were trained in float; the float query picks the lists.

Documents are assigned from their bits, as +1/-1 vectors: their floats would add nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from jinavec.vectors import Bits, Float32, binarize, unpack
from jinavec_integrations.faiss.rowfile import Rows

SAMPLE = 39
"""Vectors a centroid is trained on: FAISS's own lower bound."""
_ITERATIONS = 8
_FLOAT_WORK = 2**29
"""Products with centroids up to which documents are assigned by them; beyond, by Hamming distance, which agrees for
five of six documents in a fifth of the time."""
_EXACT = 4
"""Lists weighed by float products for each one probed, after a look at the bits of all centroids."""


class Lists:
    """Centroids, and the places of the rows around each."""

    def __init__(self, centroids: Float32, offsets: Rows) -> None:
        """Take centroids (lists, bits) and the bounds (lists + 1,) of their rows."""
        self.centroids = centroids
        self.offsets = offsets
        self.bounds: list[int] = offsets.tolist()

    def route(self, query: Float32, probes: int) -> Rows:
        """Return the lists whose centroids have the largest product with a query (bits,), best first."""
        with np.errstate(all="ignore"):  # a damaged file may hold anything, and then routes anywhere
            return self._route(query, probes)

    def _route(self, query: Float32, probes: int) -> Rows:
        weighed = max(_EXACT * probes, 64)
        if weighed >= len(self.centroids):
            best = np.arange(len(self.centroids))
        else:
            distances = np.bitwise_count(self._words ^ binarize(query).view(self._words.dtype)).sum(axis=1, dtype=int)
            best = np.argpartition(distances, weighed - 1)[:weighed]
        # einsum, not matmul: for one vector, BLAS wakes threads whose waiting costs more than they bring
        products = np.einsum("ij,j->i", self.centroids[best], query)
        return best[np.argsort(-products, kind="stable")[:probes]]

    @cached_property
    def _words(self) -> Any:
        """The bits of the centroids; made at the first search, since opening reads no centroid."""
        bits = binarize(np.nan_to_num(self.centroids))
        return bits.view(np.uint64) if bits.shape[1] % 8 == 0 else bits


def train(sample: Float32, lists: int, seed: int) -> Float32:
    """Return unit centroids (lists, width) of unit vectors, by spherical k-means."""
    faiss: Any = import_module("faiss")
    clustering = faiss.Kmeans(
        sample.shape[1],
        lists,
        niter=_ITERATIONS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE,
    )
    clustering.train(sample)
    return clustering.centroids


def assign(codes: Iterator[Bits], centroids: Float32, count: int) -> Iterator[Rows]:
    """Yield the list of each packed row, block by block; ``count`` rows in all."""
    faiss: Any = import_module("faiss")
    by_float = count * len(centroids) <= _FLOAT_WORK
    index = faiss.IndexFlatIP(centroids.shape[1]) if by_float else faiss.IndexBinaryFlat(centroids.shape[1])
    index.add(centroids if by_float else binarize(centroids))
    for block in codes:
        yield index.search(unpack(block) if by_float else block, 1)[1][:, 0]
