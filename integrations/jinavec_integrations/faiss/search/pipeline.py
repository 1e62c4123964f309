"""Search: from float queries to the best records; by the compiled kernel, or by FAISS where there is none."""

from __future__ import annotations

from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from jinavec.vectors import Bits, Float32
from jinavec_integrations.faiss.parameters import SearchParameters
from jinavec_integrations.faiss.search import kernel, plain
from jinavec_integrations.faiss.search.threads import pool
from jinavec_integrations.faiss.search.view import Found, View
from jinavec_integrations.faiss.types import DocIds, Slots

_WHOLE = 2**20
"""Up to so many components all vectors are scored, without looking for candidates first."""
_BLOCK = 16_384
"""Codes compared at a time where all distances are wanted."""


def best(view: View, queries: Float32, k: int, parameters: SearchParameters) -> list[Found]:
    """Return the ``k`` best records for each query, or as many as there are.

    Args:
        view: what may be found.
        queries: unit vectors (n, dimension), or the +1/-1 directions of packed bits.
        k: records for each.
        parameters: how much is looked at, for ten records.

    Raises:
        IndexDamaged: a file names rows that were never there.
    """
    k = min(k, view.count)
    parameters = parameters.scaled(k)
    if view.count * queries.shape[1] <= _WHOLE:
        parameters = SearchParameters(parameters.nprobe, view.count, view.count)
    if not k:
        return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    level = kernel.level()
    if level == "faiss":
        return plain.search(view, queries, k, parameters)
    return kernel.search(view, queries, k, parameters, level)


def search_range(view: View, bits: Bits, radius: int) -> tuple[DocIds, NDArray[np.int32]]:
    """Return docids and distances of all records at a Hamming distance of at most ``radius``, nearest first."""
    codes, starts = view.codes, range(0, view.slots, _BLOCK)
    found = list(pool().map(_within, repeat(bits), (codes[start : start + _BLOCK] for start in starts), repeat(radius)))
    distances = np.concatenate([np.empty(0, np.int32), *(near for near, _ in found)])
    slots = np.concatenate([np.empty(0, np.int64), *(n + start for start, (_, n) in zip(starts, found, strict=True))])
    if (passing := view.passing_slots) is not None:
        distances, slots = distances[passing[slots]], slots[passing[slots]]
    docids = view.layout.docids_at(slots)
    sequence = np.lexsort((docids, distances))
    return docids[sequence], distances[sequence]


def _within(query: Bits, codes: Bits, radius: int) -> tuple[NDArray[np.int32], Slots]:
    kind = np.uint64 if codes.shape[1] % 8 == 0 else np.uint8
    words = np.ascontiguousarray(codes).copy().view(kind)  # the rows of a mapped file are not aligned to words
    distances = np.bitwise_count(words ^ query.copy().view(kind)).sum(axis=1, dtype=np.int32)
    slots = np.flatnonzero(distances <= radius)
    return distances[slots], slots
