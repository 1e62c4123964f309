"""The compiled Hamming scan for batches of queries, behind the extra ``kernel``: FAISS's distances in less time.

A block of codes is laid on its side, word by word, so that the bits of many codes are counted and added side by side,
without a sum across a register for each; and all queries of a batch use the block while it is in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.extras import require
from jinavec.vectors import Bits

numba: Any = require("numba", "kernel")
extending: Any = require("numba.extending", "kernel")
binding: Any = require("llvmlite.binding", "kernel")

BLOCK = 256
"""Codes turned at a time."""
_APART = 8
"""Words between the rows of a turned block, so that they do not fall on the same lines of the cache."""
_FAISS_WIDTH = 64
"""Bytes of a code up to which FAISS has code of its own."""
_COUNTS_WIDE = bool(binding.get_host_cpu_features().get("avx512vpopcntdq"))
"""Whether this processor counts the bits of whole registers."""
_SPARE = 4096
"""Room for hits beyond the wanted ones, before the farthest are let go."""


def _generate_popcount(_: Any, word: Any) -> Any:
    def generate(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return numba.types.uint64(numba.types.uint64), generate


def _generate_wide(_: Any) -> Any:
    def generate(context: Any, builder: Any, ___: Any, ____: Any) -> Any:
        unchecked: Any = set
        unchecked.add(
            builder.function.attributes, '"prefer-vector-width"="512"'
        )  # LLVM's name, which llvmlite does not know
        return context.get_dummy_value()

    return numba.types.void(), generate


_popcount: Any = extending.intrinsic(_generate_popcount)
_wide: Any = extending.intrinsic(_generate_wide)
"""Has the function that calls it use whole registers where the processor has them, which LLVM avoids by itself."""


@numba.njit(nogil=True, cache=True)
def _count(query: Any, turned: Any, sums: Any) -> int:
    """Write the distances of a block to a query, and return the least."""
    _wide()
    words = len(query)
    whole = words // 4 * 4
    sums[:] = 0
    for word in range(0, whole, 4):
        a, b, c, d = query[word], query[word + 1], query[word + 2], query[word + 3]
        for r in range(BLOCK):
            sums[r] += (
                _popcount(turned[word, r] ^ a)
                + _popcount(turned[word + 1, r] ^ b)
                + _popcount(turned[word + 2, r] ^ c)
                + _popcount(turned[word + 3, r] ^ d)
            )
    for word in range(whole, words):
        a = query[word]
        for r in range(BLOCK):
            sums[r] += _popcount(turned[word, r] ^ a)
    least = sums[0]
    for r in range(BLOCK):
        least = min(least, sums[r])
    return least


@numba.njit(nogil=True, cache=True)
def _trim(distances: Any, slots: Any, held: int, count: int, bits: int) -> tuple[int, int]:
    """Keep the nearest; return how many are left, and the distance that a further one must stay below."""
    if held < count:
        return held, bits + 1
    histogram = np.zeros(bits + 1, np.int64)
    for n in range(held):
        histogram[distances[n]] += 1
    limit = nearer = 0
    while nearer + histogram[limit] < count:
        nearer += histogram[limit]
        limit += 1
    ties = count - nearer
    kept = 0
    for n in range(held):
        if distances[n] < limit or (distances[n] == limit and ties > 0):
            ties -= distances[n] == limit
            distances[kept], slots[kept] = distances[n], slots[n]
            kept += 1
    return kept, limit


@numba.njit(nogil=True, cache=True)
def _scan(queries: Any, codes: Any, distances: Any, slots: Any, count: int) -> None:
    _wide()
    words, room = codes.shape[1], distances.shape[1]
    bits = words * 64
    held, limits = np.zeros(len(queries), np.int64), np.full(len(queries), bits + 1)
    turned, sums = np.zeros((words, BLOCK + _APART), np.uint64), np.empty(BLOCK, np.uint64)
    for row in range(0, len(codes), BLOCK):
        rows = min(BLOCK, len(codes) - row)
        for r in range(rows):
            for word in range(words):
                turned[word, r] = codes[row + r, word]
        for q in range(len(queries)):
            if _count(queries[q], turned, sums) >= limits[q]:
                continue
            n = held[q]
            for r in range(rows):
                if sums[r] < limits[q]:
                    distances[q, n], slots[q, n] = sums[r], row + r
                    n += 1
            if n + BLOCK > room:
                n, limits[q] = _trim(distances[q], slots[q], n, count, bits)
            held[q] = n
    for q in range(len(queries)):
        _trim(distances[q], slots[q], held[q], count, bits)


def pays(width: int) -> bool:
    """Return whether this processor scans codes of so many bytes faster here than in FAISS.

    Where it counts bits in whole registers (AVX-512 with VPOPCNTDQ), any; else those for which FAISS has no code of
    its own.
    """
    return width > _FAISS_WIDTH or _COUNTS_WIDE


def scan_batch(queries: Bits, codes: Bits, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the distances and slots (queries, count) of the codes nearest to each query, in no order.

    Args:
        queries: packed bits (queries, bytes); whole words of 64 bits.
        codes: packed bits (n, bytes), at least ``count`` of them, wherever they lie.
        count: the codes for each query.
    """
    room = count + max(count, _SPARE)
    distances, slots = np.empty((len(queries), room), np.int32), np.empty((len(queries), room), np.int64)
    _scan(queries.copy().view(np.uint64), codes.view(np.uint64), distances, slots, count)
    return distances[:, :count], slots[:, :count]
