"""Inverted lists: centroids are trained in float, and rows assigned to them.

Documents are assigned from their bits, as +1/-1 vectors: their floats would add nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from jinavec.vectors import Bits, Float32, binarize, unpack
from jinavec_integrations.faiss.types import Slots

SAMPLE = 39
"""Vectors a centroid is trained on: FAISS's own lower bound."""
_ITERATIONS = 8
_FLOAT_WORK = 2**29
"""Products with centroids up to which documents are assigned by them; beyond, by Hamming distance, which agrees for
five of six documents in a fifth of the time."""


def train(sample: Float32, nlist: int, seed: int) -> Float32:
    """Return unit centroids (nlist, width) of unit vectors, by spherical k-means."""
    faiss: Any = import_module("faiss")
    clustering = faiss.Kmeans(
        sample.shape[1],
        nlist,
        niter=_ITERATIONS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE,
    )
    clustering.train(sample)
    return clustering.centroids


def assign(codes: Iterator[Bits], centroids: Float32, count: int) -> Iterator[Slots]:
    """Yield the list of each packed row, block by block; ``count`` rows in all."""
    faiss: Any = import_module("faiss")
    by_float = count * len(centroids) <= _FLOAT_WORK
    index = faiss.IndexFlatIP(centroids.shape[1]) if by_float else faiss.IndexBinaryFlat(centroids.shape[1])
    index.add(centroids if by_float else binarize(centroids))
    for block in codes:
        yield index.search(unpack(block) if by_float else block, 1)[1][:, 0]
