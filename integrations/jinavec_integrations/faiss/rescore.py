"""Rescoring: the cosine of a float query to the bits of documents in memory, and to int8 vectors on disk."""

from __future__ import annotations

import numpy as np

from jinavec.vectors import Bits, Float32
from jinavec_integrations.faiss.rowfile import Rows, VectorFile

_BLOCK = 2**20
"""Values turned into floats at a time."""


def bit_cosines(query: Float32, codes: Bits, places: Rows) -> Float32:
    """Return the cosine of a unit query (dimension,) to the +1/-1 vectors of codes at places.

    The product with +1/-1 is twice the sum over the bits that are set, less the sum over all.
    """
    # einsum, not matmul: BLAS sums a row differently by its place in the block, and equal bits must tie; and for one
    # vector it wakes threads whose waiting costs more than they bring.
    dimension = len(query)
    scores = np.empty(len(places), np.float32)
    step = max(1, _BLOCK // dimension)
    for start in range(0, len(places), step):
        bits = np.unpackbits(codes[places[start : start + step]], axis=1, count=dimension)
        scores[start : start + step] = np.einsum("ij,j->i", bits.astype(np.float32), query)
    return np.clip((2 * scores - query.sum()) / np.float32(np.sqrt(dimension)), -1, 1)


def cosines(query: Float32, vectors: VectorFile, count: int, places: Rows) -> Float32:
    """Return the cosine of a unit query (dimension,) to each of the rows at places (ascending) among ``count``.

    int8 vectors keep the direction only, so each is divided by its own length.
    """
    stored = vectors.rows(count)
    vectors.prefetch(places)
    scores = np.empty(len(places), np.float32)
    step = max(1, _BLOCK // vectors.width)
    for start in range(0, len(places), step):
        block = stored[places[start : start + step]].astype(np.float32)
        # einsum, as for bits
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        scores[start : start + step] = np.einsum("ij,j->i", block, query) / np.maximum(lengths, 1)
    return np.clip(scores, -1, 1)
