"""Inverted lists: rows around centroids that were trained in float; the float query picks the lists.

Documents are assigned from their bits, as +1/-1 vectors: their floats would add nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from itertools import repeat
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from jinavec.vectors import Bits, Float32, binarize, unpack
from jinavec_integrations.faiss.search.hamming import Nearest, pays, pool, scan
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.types import Slots

SAMPLE = 39
"""Vectors a centroid is trained on: FAISS's own lower bound."""
_ITERATIONS = 8
_FLOAT_WORK = 2**29
"""Products with centroids up to which documents are assigned by them; beyond, by Hamming distance, which agrees for
five of six documents in a fifth of the time."""
_EXACT = 2
"""Lists weighed by float products for each one probed, after a look at the bits of all centroids."""


class Ivf:
    """The inverted lists of one generation, over the code file as it lies on the disk; nothing is copied.

    The code file has the codes of list 0 first, then those of list 1, and so on: exactly what FAISS's
    ``OnDiskInvertedLists`` reads, which takes an address and for each list (size, capacity, first byte)
    (faiss/invlists/OnDiskInvertedLists.h). So it is given the address of our map in place of one of its own. It reads
    no ids from there as long as pairs of list and offset are asked for (``store_pairs``).
    """

    def __init__(self, layout: Layout) -> None:
        """Take the lists of a layout that has some; see ``ivf_of``."""
        self.offsets = layout.offsets
        self.bounds: list[int] = self.offsets.tolist()
        self._centroids = layout.arrays["centroids.float32"]
        self._codes = layout.codes.rows(self.bounds[-1])  # FAISS holds its address only, so it must live as long
        self._index, self._quantizer = self._borrow(self._codes)

    @property
    def nlist(self) -> int:
        """The number of lists."""
        return len(self.bounds) - 1

    def route(self, query: Float32, nprobe: int) -> Slots:
        """Return the lists whose centroids have the largest product with a query (bits,), best first."""
        weighed = max(_EXACT * nprobe, 64)
        if weighed >= self.nlist:
            near = np.arange(self.nlist)
        else:
            _, near = scan(binarize(query), [(self._centroid_bits, 0)], weighed)
        return near[np.argsort(-self._products(query, near), kind="stable")[:nprobe]]

    def nearest(self, query: Bits, lists: Slots, count: int, *, threads: int = 1) -> list[Nearest]:
        """Scan some lists for the ``count`` codes nearest to a query (bytes,); in shares, where there is enough."""
        size = int((self.offsets[lists + 1] - self.offsets[lists]).sum()) * len(query)
        if not pays(threads, size):
            return [self._scan(query, lists, count)]
        shares = [lists[first::threads] for first in range(threads)]
        return list(pool().map(self._scan, repeat(query), shares, repeat(count)))

    def _scan(self, query: Bits, lists: Slots, count: int) -> Nearest:
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
        return distances, self.offsets[labels >> 32] + (labels & 0xFFFF_FFFF)

    def _borrow(self, codes: Bits) -> tuple[Any, Any]:
        """Return a FAISS index over codes (n, bytes), and the quantizer that it points to."""
        faiss: Any = import_module("faiss")
        count, width = codes.shape
        lists = faiss.OnDiskInvertedLists()
        lists.nlist, lists.code_size = self.nlist, width
        lists.read_only, lists.prefetch_nthread = True, 0
        sizes = np.diff(self.offsets)
        entries = np.ascontiguousarray(np.stack([sizes, sizes, self.offsets[:-1] * width], axis=1), np.uint64)
        lists.lists.resize(len(entries))  # three words each: size, capacity, first byte
        faiss.memcpy(lists.lists.data(), faiss.swig_ptr(entries), entries.nbytes)
        lists.ptr, lists.totsize = faiss.swig_ptr(codes), codes.nbytes
        weakref.finalize(self, setattr, lists, "ptr", None)  # else FAISS would unmap what it did not map
        quantizer = faiss.IndexBinaryFlat(width * 8)
        index = faiss.IndexBinaryIVF(quantizer, width * 8, self.nlist)
        index.replace_invlists(lists, False)
        index.is_trained, index.ntotal = True, count
        return index, quantizer

    def _products(self, query: Float32, lists: Slots) -> Float32:
        faiss: Any = import_module("faiss")
        products = np.empty(len(lists), np.float32)
        faiss.fvec_inner_products_by_idx(
            *map(faiss.swig_ptr, (products, np.ascontiguousarray(query), self._centroids.values, lists)),
            len(query),
            1,
            len(lists),
        )
        return np.nan_to_num(products, copy=False)  # a damaged file may hold anything, and then routes anywhere

    @cached_property
    def _centroid_bits(self) -> Bits:
        """The bits of the centroids; made at the first search, since opening reads no centroid."""
        return binarize(np.nan_to_num(self._centroids.values))


_KNOWN: WeakKeyDictionary[Layout, Ivf] = WeakKeyDictionary()


def ivf_of(layout: Layout) -> Ivf:
    """Return the lists of a layout that has some; they are made at its first search."""
    ivf = _KNOWN.get(layout)
    if ivf is None:
        ivf = _KNOWN.setdefault(layout, Ivf(layout))
    return ivf


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
