"""The Hamming scan: FAISS's kernel over packed bits, wherever they lie."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from jinavec.vectors import Bits
from jinavec_integrations.faiss.filters import Mask
from jinavec_integrations.faiss.rowfile import Rows

_GATHER = 65_536
"""Up to so many passing codes are copied together; beyond, FAISS asks a bitmap while it scans them all."""


def nearest(query: Bits, codes: Bits, count: int, passing: Mask | None = None) -> Rows:
    """Return the rows nearest to a query by Hamming distance, in no order.

    FAISS never parses the file: it is given checked arrays, so a damaged file cannot make it abort.

    Args:
        query: packed bits (bytes,).
        codes: packed bits (n, bytes).
        count: rows to return; at most as many as pass.
        passing: the rows that may be returned; all of them without it.
    """
    if passing is None:
        return _scan(query, codes, count, None)
    rows = np.flatnonzero(passing)
    if len(rows) <= _GATHER:
        return rows[_scan(query, codes[rows], count, None)]
    return _scan(query, codes, count, passing)


def _scan(query: Bits, codes: Bits, count: int, passing: Mask | None) -> Rows:
    faiss: Any = import_module("faiss")  # takes a while to load: only when needed
    bitmap = np.empty(0, np.uint8) if passing is None else np.packbits(passing, bitorder="little")
    selector = None if passing is None else faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
    distances, rows = np.empty((1, count), np.int32), np.empty((1, count), np.int64)
    heap = faiss.int_maxheap_array_t()
    heap.nh, heap.k = rows.shape
    heap.val, heap.ids = faiss.swig_ptr(distances), faiss.swig_ptr(rows)
    faiss.hammings_knn_hc(
        heap,
        faiss.swig_ptr(query),
        faiss.swig_ptr(codes),
        len(codes),
        codes.shape[1],
        False,
        faiss.EXACT_TOPK,
        selector,
    )
    return rows[0]
