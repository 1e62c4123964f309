"""Rescoring: the cosine of a float query to int8 vectors on disk."""

from __future__ import annotations

import numpy as np

from jinavec.vectors import Float32
from jinavec_integrations.faiss.rowfile import Rows, VectorFile

_BLOCK = 2**22
"""int8 values turned into floats at a time."""


def cosines(query: Float32, vectors: VectorFile, count: int, rows: Rows) -> Float32:
    """Return the cosine of a unit query (dimension,) to each of the rows (ascending) among the first ``count``.

    int8 vectors keep the direction only, so each is divided by its own length.
    """
    stored = vectors.rows(count)
    vectors.prefetch(rows)
    scores = np.empty(len(rows), np.float32)
    step = max(1, _BLOCK // vectors.width)
    for start in range(0, len(rows), step):
        block = stored[rows[start : start + step]].astype(np.float32)
        # einsum, not matmul: BLAS sums a row differently by its place in the block, and equal vectors must tie.
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        scores[start : start + step] = np.einsum("ij,j->i", block, query) / np.maximum(lengths, 1)
    return np.clip(scores, -1, 1)
