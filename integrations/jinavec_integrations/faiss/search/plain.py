"""The search without a compiled kernel: FAISS's Hamming scan, and NumPy.

FAISS never parses our files: it is given checked arrays, so a damaged file cannot make it abort. It takes them by
address (``swig_ptr``) and keeps none of the addresses beyond the call.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from jinavec.vectors import Bits, Float32, binarize
from jinavec_integrations.faiss.parameters import SearchParameters
from jinavec_integrations.faiss.search.threads import faiss_alone, pool
from jinavec_integrations.faiss.search.view import Found, View, pack, padded
from jinavec_integrations.faiss.types import Mask, Slots

_FEW = 16
"""Rows that pass a filter are scanned by themselves if they are no more than one of so many."""
_BLOCK = 2**20
"""Components scored at a time."""
_ENOUGH = 16
"""Passing codes to scan for each candidate, before a filtered search stops opening lists."""


def search(view: View, queries: Float32, k: int, parameters: SearchParameters) -> list[Found]:
    """Return the best records for each query (n, dimension), a unit vector; batches on all cores.

    All candidates are scored by int8 vectors, of which ``parameters.rescore`` would leave some out.

    Args:
        view: what may be found.
        queries: float32 (n, dimension).
        k: records for each, no more than may be found.
        parameters: how much is looked at, for k records.

    Raises:
        IndexDamaged: a file names rows that were never there.
    """
    if len(queries) == 1:
        return [_search(view, queries[0], k, parameters)]

    def search_alone(query: Float32) -> Found:
        faiss_alone()
        return _search(view, query, k, parameters)

    return list(pool().map(search_alone, queries))


def _search(view: View, query: Float32, k: int, parameters: SearchParameters) -> Found:
    slots = candidates(view, query, parameters)
    docids, scores = view.layout.docids_at(slots), _cosines(view, query, slots)
    sequence = np.lexsort((docids, -scores))[:k]
    return docids[sequence], scores[sequence]


def candidates(view: View, query: Float32, parameters: SearchParameters) -> Slots:
    """Return the slots of the nearest rows by Hamming distance, ascending; of all rows, where there are no more."""
    wanted = parameters.candidates
    if wanted >= view.count:
        return view.all_slots
    if view.passing is not None and view.count * _FEW <= view.slots:
        slots = view.all_slots
    elif view.layout.has_lists:
        slots = _in_lists(view, padded(query), parameters)
    else:
        return np.sort(_nearest(pack(query), view.codes, wanted, view.passing_slots))
    if len(slots) <= wanted:
        return slots
    return np.sort(slots[_nearest(pack(query), view.codes[slots], wanted)])


def _in_lists(view: View, query: Float32, parameters: SearchParameters) -> Slots:
    """Return the slots that may be found in the lists nearest to a query, and of rows that are in no list yet.

    Where some do not pass, lists are opened until there are enough that do.
    """
    layout, passing = view.layout, view.passing_slots
    offsets: list[int] = layout.offsets.tolist()
    chosen: list[int] = route(view, query, parameters.nprobe).tolist()
    parts: list[Slots] = [np.arange(offsets[-1], view.slots)]
    found = 0
    for number, place in enumerate(chosen):
        if number >= parameters.nprobe and (passing is None or found >= _ENOUGH * parameters.candidates):
            break
        slots = np.arange(offsets[place], offsets[place + 1])
        parts.append(slots if passing is None else slots[passing[slots]])
        found += len(parts[-1])
    parts[0] = parts[0] if passing is None else parts[0][passing[parts[0]]]
    return np.sort(np.concatenate(parts))


def route(view: View, query: Float32, nprobe: int) -> Slots:
    """Return the lists whose centroids have the largest product with a query (bits,), best first.

    After a look at the bits of all centroids, some are weighed; all of them, where some rows do not pass.
    """
    layout, weighed = view.layout, max(2 * nprobe, 64)
    centroids = layout.centroids
    near = np.arange(len(centroids))
    if view.passing is None and weighed < len(centroids):
        if "centroid_bits" not in layout.derived:
            layout.derived["centroid_bits"] = binarize(np.nan_to_num(centroids))
        near = np.sort(_nearest(binarize(query), layout.derived["centroid_bits"], weighed))
    with np.errstate(all="ignore"):
        products = np.nan_to_num(np.einsum("ij,j->i", centroids[near], query))  # a damaged file routes anywhere
    return near[np.argsort(-products, kind="stable")]


def _nearest(query: Bits, codes: Bits, count: int, passing: Mask | None = None) -> Slots:
    """Return the places of the ``count`` codes nearest to a query, in no order."""
    faiss: Any = import_module("faiss")  # takes a while to load: only when needed
    bitmap = np.empty(0, np.uint8) if passing is None else np.packbits(passing, bitorder="little")
    selector = None if passing is None else faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
    codes = np.ascontiguousarray(codes)
    distances, places = np.empty((1, count), np.int32), np.empty((1, count), np.int64)
    heap = faiss.int_maxheap_array_t()
    heap.nh, heap.k = places.shape
    heap.val, heap.ids = faiss.swig_ptr(distances), faiss.swig_ptr(places)
    pointers = faiss.swig_ptr(query), faiss.swig_ptr(codes)
    faiss.hammings_knn_hc(heap, *pointers, len(codes), codes.shape[1], False, faiss.EXACT_TOPK, selector)
    return places[0, places[0] >= 0]


def _cosines(view: View, query: Float32, slots: Slots) -> Float32:
    """Return the cosine of a unit query to the int8 vector at each slot, or to the bits as +1 and -1."""
    vectors = view.layout.vectors
    stored = view.codes if vectors is None else vectors.rows(view.slots)
    scores = np.empty(len(slots), np.float32)
    step = max(1, _BLOCK // len(query))
    for start in range(0, len(slots), step):
        rows = stored[slots[start : start + step]]
        if vectors is None:
            rows = np.unpackbits(rows, axis=1, count=len(query)).astype(np.int8) * 2 - 1
        block = rows.astype(np.float32)
        # einsum, not matmul: for one vector, BLAS wakes threads whose waiting costs more than they bring
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        scores[start : start + step] = np.einsum("ij,j->i", block, query) / np.maximum(lengths, 1)
    return np.clip(scores, -1, 1)
