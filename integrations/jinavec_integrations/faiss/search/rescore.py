"""Rescoring: the cosine of a float query to the bits of documents in memory, and to int8 vectors on disk."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

import numpy as np

from jinavec.vectors import Bits, Float32
from jinavec_integrations.faiss.storage.rowfile import VectorFile
from jinavec_integrations.faiss.types import Slots

_BLOCK = 2**20
"""Values unpacked at a time."""
_LOCAL = threading.local()


def bit_cosines(query: Float32, codes: Bits, slots: Slots) -> Float32:
    """Return the cosine of a unit query (dimension,) to the +1/-1 vectors of codes at slots.

    The product with +1/-1 is twice the sum over the bits that are set, less the sum over all.
    """
    dimension = len(query)
    sums = np.empty(len(slots), np.float32)
    step = max(1, _BLOCK // dimension)
    for start in range(0, len(slots), step):
        bits = np.unpackbits(codes[slots[start : start + step]], axis=1, count=dimension)
        sums[start : start + step] = _products(query, bits)
    return np.clip((2 * sums - query.sum()) / np.float32(np.sqrt(dimension)), -1, 1)


def _products(query: Float32, bits: Bits) -> Float32:
    """Return the product of a query with each row of zeros and ones, by the kernel of FAISS's scalar quantizer.

    It sums every row alike, so that equal bits tie, which BLAS does not promise.
    """
    faiss: Any = import_module("faiss")
    scanner = _scanner(faiss, len(query))
    products, rows = np.full(len(bits), -np.inf, np.float32), np.full(len(bits), -1, np.int64)
    scanner.set_query(faiss.swig_ptr(query))
    scanner.set_list(0, 0.0)
    scanner.scan_codes(len(bits), faiss.swig_ptr(bits), None, faiss.swig_ptr(products), faiss.swig_ptr(rows), len(bits))
    return products[np.argsort(rows)]


def _scanner(faiss: Any, dimension: int) -> Any:
    """Return this thread's scanner for vectors of a dimension, whose bytes stand for themselves."""
    known: dict[int, tuple[Any, ...]] = _LOCAL.__dict__.setdefault("scanners", {})
    if dimension not in known:
        kind = faiss.ScalarQuantizer.QT_8bit_uniform
        quantizer = faiss.IndexFlatIP(dimension)
        lists = faiss.IndexIVFScalarQuantizer(quantizer, dimension, 1, kind, faiss.METRIC_INNER_PRODUCT)
        lists.by_residual = False
        values = np.array([-0.5, 255], np.float32)  # FAISS computes the first + (byte + 0.5) / 255 * the second
        faiss.copy_array_to_vector(values, lists.sq.trained)
        known[dimension] = lists.get_InvertedListScanner(True, None, None), lists, quantizer
    return known[dimension][0]


def cosines(query: Float32, vectors: VectorFile, count: int, slots: Slots) -> Float32:
    """Return the cosine of a unit query (dimension,) to each of the rows at slots (ascending) among ``count``.

    int8 vectors keep the direction only, so each is divided by its own length.
    """
    stored = vectors.rows(count)
    vectors.prefetch(slots)
    scores = np.empty(len(slots), np.float32)
    step = max(1, _BLOCK // vectors.width)
    for start in range(0, len(slots), step):
        block = stored[slots[start : start + step]].astype(np.float32)
        # einsum, not matmul: for one vector, BLAS wakes threads whose waiting costs more than they bring
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        scores[start : start + step] = np.einsum("ij,j->i", block, query) / np.maximum(lengths, 1)
    return np.clip(scores, -1, 1)
