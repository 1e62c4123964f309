"""ListedCodes: FAISS's inverted lists over the settled part of a code file, as it lies there; nothing is copied."""

from __future__ import annotations

import weakref
from importlib import import_module
from itertools import repeat
from typing import Any

import numpy as np

from jinavec.vectors import Bits
from jinavec_integrations.faiss.hamming import Nearest, pays, pool
from jinavec_integrations.faiss.rowfile import Rows


class ListedCodes:
    """Codes in lists, scanned by one call of FAISS for all lists that a query opens."""

    def __init__(self, codes: Bits, offsets: Rows) -> None:
        """Take mapped codes (n, bytes), and the bounds (lists + 1,) of their lists, from 0 to n."""
        faiss: Any = import_module("faiss")
        count, width = codes.shape
        self._offsets = offsets
        self._codes = codes  # FAISS holds its address only
        lists = faiss.OnDiskInvertedLists()
        lists.nlist, lists.code_size = len(offsets) - 1, width
        lists.read_only, lists.prefetch_nthread = True, 0
        sizes = np.diff(offsets)
        entries = np.ascontiguousarray(np.stack([sizes, sizes, offsets[:-1] * width], axis=1), np.uint64)
        lists.lists.resize(len(entries))  # of size, capacity, and the byte where the list begins
        faiss.memcpy(lists.lists.data(), faiss.swig_ptr(entries), entries.nbytes)
        lists.ptr, lists.totsize = faiss.swig_ptr(codes), codes.nbytes
        weakref.finalize(self, setattr, lists, "ptr", None)  # else FAISS would unmap what it did not map
        self._quantizer = faiss.IndexBinaryFlat(width * 8)
        self._index = faiss.IndexBinaryIVF(self._quantizer, width * 8, len(entries))
        self._index.replace_invlists(lists, False)
        self._index.is_trained, self._index.ntotal = True, count

    def nearest(self, query: Bits, lists: Rows, count: int, *, threads: int = 1) -> list[Nearest]:
        """Scan some lists for the ``count`` codes nearest to a query (bytes,); in shares, where there is enough."""
        size = int((self._offsets[lists + 1] - self._offsets[lists]).sum()) * len(query)
        if not pays(threads, size):
            return [self._scan(query, lists, count)]
        shares = [lists[first::threads] for first in range(threads)]
        return list(pool().map(self._scan, repeat(query), shares, repeat(count)))

    def _scan(self, query: Bits, lists: Rows, count: int) -> Nearest:
        faiss: Any = import_module("faiss")
        lists = np.ascontiguousarray(lists, np.int64)
        distances, labels = np.empty(count, np.int32), np.empty(count, np.int64)
        self._index.search_preassigned_c(
            1,
            faiss.swig_ptr(query),
            count,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(np.zeros(len(lists), np.int32)),  # distances to the centroids, which Hamming does not use
            faiss.swig_ptr(distances),
            faiss.swig_ptr(labels),
            True,  # labels are a list in the upper half and an offset in the lower: our files hold no ids
            faiss.IVFSearchParameters(nprobe=len(lists)),
        )
        found = labels >= 0
        distances, labels = distances[found], labels[found]
        return distances, self._offsets[labels >> 32] + (labels & 0xFFFF_FFFF)
