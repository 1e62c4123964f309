"""The Hamming scan: FAISS's kernels over packed bits, wherever they lie.

FAISS never parses our files: it is given checked arrays, so a damaged file cannot make it abort. It takes them by
address (``swig_ptr``) and keeps none of the addresses beyond the call, but for the query of a scanner, which the same
function sets and uses: so every array lives as long as it is looked at.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.extras import installed
from jinavec.process import PerProcess, cores
from jinavec.vectors import Bits
from jinavec_integrations.faiss.types import Mask, Slots

Piece = tuple[Bits, Slots | int]
"""Codes (n, bytes), and the slots of their rows: the first one where they follow each other."""
Nearest = tuple[NDArray[np.int32], Slots]
"""Distances and slots, in no order."""
_SPLIT = 16 * 2**20
"""Bytes of codes from which one query is worth the work of several cores."""
_BLOCK = 16_384
"""Codes compared at a time where all distances are wanted."""
_COMPILE = 2**22
"""Comparisons of a batch from which the compiled scan is worth its loading."""
_LOCAL = threading.local()


def nearest(query: Bits, pieces: Sequence[Piece], count: int, *, threads: int = 1) -> Slots:
    """Return the slots of the ``count`` codes nearest to a query, in no order; all of them, if there are fewer.

    Args:
        query: packed bits (bytes,).
        pieces: what to scan.
        count: the number of slots.
        threads: cores to use, where there is enough to scan.
    """
    size = sum(codes.nbytes for codes, _ in pieces)
    if not pays(threads, size):
        return scan(query, pieces, count)[1]
    shares = _shares(pieces, threads)
    return merged(list(pool().map(scan, repeat(query), shares, repeat(count))), count)


def pays(threads: int, size: int) -> bool:
    """Return whether a scan of so many bytes is worth being shared by threads."""
    return threads > 1 and size >= _SPLIT


def merged(found: Sequence[Nearest], count: int) -> Slots:
    """Return the slots of the ``count`` nearest of all that was found."""
    distances, slots = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(slots) <= count:
        return slots
    return slots[np.argpartition(distances, count - 1)[:count]]


def nearest_passing(query: Bits, codes: Bits, passing: Mask, count: int, *, threads: int = 1) -> Slots:
    """Return the slots of the ``count`` passing codes nearest to a query, in no order."""
    step = -(-len(codes) // (threads if pays(threads, codes.nbytes) else 1))
    starts = range(0, len(codes), step)

    def scan_share(start: int) -> Nearest:
        distances, slots = _scan_all(query[None], codes[start : start + step], count, passing[start : start + step])
        found = slots[0] >= 0
        return distances[0, found], slots[0, found] + start

    return merged([scan_share(0)] if len(starts) == 1 else list(pool().map(scan_share, starts)), count)


def nearest_of_batch(queries: Bits, codes: Bits, count: int) -> Slots:
    """Return the slots (queries, count) of the codes nearest to each query, on all cores; count is at most n."""
    compiled = _kernel() if len(queries) * len(codes) >= _COMPILE and codes.shape[1] % 8 == 0 else None
    if compiled is None or not compiled.pays(codes.shape[1]):
        return _scan_all(queries, codes, count, None)[1]
    share = -(-len(codes) // cores())

    def scan_share(start: int) -> Nearest:
        part = codes[start : start + share]
        distances, slots = compiled.scan_batch(queries, part, min(count, len(part)))
        return distances, slots + start

    found = list(pool().map(scan_share, range(0, len(codes), share)))
    distances, slots = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return np.take_along_axis(slots, np.argpartition(distances, count - 1, axis=1)[:, :count], axis=1)


@cache
def _kernel() -> Any:
    """Return the compiled scan; None without the extra, or where numba finds no folder to keep what it compiles."""
    if not installed("numba"):
        return None
    try:
        return import_module("jinavec_integrations.faiss.search.kernel")
    except RuntimeError:
        return None


def within(query: Bits, codes: Bits, radius: int) -> Nearest:
    """Return the distances and slots of all codes at a Hamming distance of at most ``radius``, on all cores."""
    starts = range(0, len(codes), _BLOCK)
    found = list(
        pool().map(_within, repeat(query), (codes[start : start + _BLOCK] for start in starts), repeat(radius))
    )
    distances = [near for near, _ in found]
    slots = [place + start for start, (_, place) in zip(starts, found, strict=True)]
    return np.concatenate([np.empty(0, np.int32), *distances]), np.concatenate([np.empty(0, np.int64), *slots])


def _within(query: Bits, codes: Bits, radius: int) -> Nearest:
    kind = np.uint64 if codes.shape[1] % 8 == 0 else np.uint8
    words = np.ascontiguousarray(codes).copy().view(kind)  # the rows of a mapped file are not aligned to words
    distances = np.bitwise_count(words ^ query.copy().view(kind)).sum(axis=1, dtype=np.int32)
    slots = np.flatnonzero(distances <= radius)
    return distances[slots], slots


def pool() -> ThreadPoolExecutor:
    """Return this process's threads, one for each core; inside them FAISS and BLAS need no more."""
    return _POOL.get()


def _one_thread() -> None:
    import_module("faiss").omp_set_num_threads(1)  # holds for the calling thread only


def _in_child() -> None:
    """Let FAISS work alone after a fork: the threads that OpenMP had for this one are gone, and it would wait for them.

    Other threads of the child are new, and get their own.
    """
    if "faiss" in sys.modules:
        _one_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

_POOL = PerProcess(lambda: ThreadPoolExecutor(cores(), "jinavec-faiss", _one_thread))


def scan(query: Bits, pieces: Sequence[Piece], count: int) -> Nearest:
    """Scan pieces with FAISS's scanner of inverted lists: one heap for all of them."""
    faiss: Any = import_module("faiss")
    scanner = _scanner(faiss, len(query))
    distances, labels = np.full(count, np.iinfo(np.int32).max, np.int32), np.full(count, -1, np.int64)
    heap = faiss.swig_ptr(distances), faiss.swig_ptr(labels)
    scanner.set_query(faiss.swig_ptr(query))
    for number, (codes, _) in enumerate(pieces):
        if len(codes):
            scanner.set_list(number, 0)
            scanner.scan_codes(len(codes), faiss.swig_ptr(codes), None, *heap, count)
    found = labels >= 0
    return distances[found], _slots_of(labels[found], pieces)


def _scan_all(queries: Bits, codes: Bits, count: int, passing: Mask | None) -> tuple[NDArray[np.int32], Slots]:
    """Scan all codes for a batch of queries; a row without a result is -1."""
    faiss: Any = import_module("faiss")  # takes a while to load: only when needed
    bitmap = np.empty(0, np.uint8) if passing is None else np.packbits(passing, bitorder="little")
    selector = None if passing is None else faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
    distances, slots = np.empty((len(queries), count), np.int32), np.empty((len(queries), count), np.int64)
    heap = faiss.int_maxheap_array_t()
    heap.nh, heap.k = slots.shape
    heap.val, heap.ids = faiss.swig_ptr(distances), faiss.swig_ptr(slots)
    pointers = faiss.swig_ptr(queries), faiss.swig_ptr(codes)
    faiss.hammings_knn_hc(heap, *pointers, len(codes), codes.shape[1], False, faiss.EXACT_TOPK, selector)
    return distances, slots


def _slots_of(labels: Slots, pieces: Sequence[Piece]) -> Slots:
    """Turn labels, a piece in the upper half and an offset in the lower, into slots."""
    numbers, offsets = labels >> 32, labels & 0xFFFF_FFFF
    firsts = np.array([slots if isinstance(slots, int) else 0 for _, slots in pieces], np.int64)
    found = firsts[numbers] + offsets
    for number, (_, slots) in enumerate(pieces):
        if not isinstance(slots, int):
            mine = np.flatnonzero(numbers == number)
            found[mine] = slots[offsets[mine]]
    return found


def _scanner(faiss: Any, width: int) -> Any:
    """Return this thread's scanner for codes of a width."""
    known: dict[int, tuple[Any, ...]] = _LOCAL.__dict__.setdefault("scanners", {})
    if width not in known:
        quantizer = faiss.IndexBinaryFlat(width * 8)
        lists = faiss.IndexBinaryIVF(quantizer, width * 8, 1)
        known[width] = lists.get_InvertedListScanner(True), lists, quantizer  # the scanner needs the others alive
    return known[width][0]


def _shares(pieces: Sequence[Piece], threads: int) -> list[list[Piece]]:
    """Divide pieces into equal shares, one for each thread."""
    total = sum(len(codes) for codes, _ in pieces)
    share = -(-total // threads)
    shares: list[list[Piece]] = [[]]
    room = share
    for codes, slots in pieces:
        start = 0
        while start < len(codes):
            if not room:
                shares.append([])
                room = share
            end = min(len(codes), start + room)
            part = slots + start if isinstance(slots, int) else slots[start:end]
            shares[-1].append((codes[start:end], part))
            room -= end - start
            start = end
    return shares
