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
from jinavec_integrations.faiss.hamming import scan
from jinavec_integrations.faiss.rowfile import Rows

SAMPLE = 39
"""Vectors a centroid is trained on: FAISS's own lower bound."""
_ITERATIONS = 8
_FLOAT_WORK = 2**29
"""Products with centroids up to which documents are assigned by them; beyond, by Hamming distance, which agrees for
five of six documents in a fifth of the time."""
_EXACT = 2
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
        weighed = max(_EXACT * probes, 64)
        if weighed >= len(self.centroids):
            near = np.arange(len(self.centroids))
        else:
            _, near = scan(binarize(query), [(self._bits, 0)], weighed)
        return near[np.argsort(-self._products(query, near), kind="stable")[:probes]]

    def _products(self, query: Float32, lists: Rows) -> Float32:
        faiss: Any = import_module("faiss")
        products = np.empty(len(lists), np.float32)
        faiss.fvec_inner_products_by_idx(
            *map(faiss.swig_ptr, (products, np.ascontiguousarray(query), self.centroids, lists)),
            len(query),
            1,
            len(lists),
        )
        return np.nan_to_num(products, copy=False)  # a damaged file may hold anything, and then routes anywhere

    @cached_property
    def _bits(self) -> Bits:
        """The bits of the centroids; made at the first search, since opening reads no centroid."""
        return binarize(np.nan_to_num(self.centroids))


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
