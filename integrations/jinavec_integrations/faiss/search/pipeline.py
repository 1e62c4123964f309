"""Search: from a float query to the best records; Hamming, then bits against the float query, then int8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jinavec.vectors import Bits, Float32, binarize
from jinavec_integrations.faiss.parameters import SearchParameters
from jinavec_integrations.faiss.search.hamming import (
    Piece,
    merged,
    nearest,
    nearest_of_batch,
    nearest_passing,
    pool,
    scan,
    within,
)
from jinavec_integrations.faiss.search.ivf import Ivf, ivf_of
from jinavec_integrations.faiss.search.rescore import bit_cosines, cosines
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.types import DocIds, Mask, Slots

_WHOLE = 2**22
"""Up to so many bytes of int8 vectors are scored without looking for candidates first: it takes a millisecond."""
_GATHER = 65_536
"""Up to so many passing codes are copied together and scanned, wherever they lie."""
_BATCH = 2**22
"""Candidates held at a time for a batch of queries."""
_ENOUGH = 16
"""Passing codes to scan for each candidate, before a filtered search stops opening lists."""


@dataclass(frozen=True)
class View:
    """What a search may find: a layout as of a moment, less what is deleted or does not pass the filter."""

    layout: Layout
    slots: int
    """Rows in the row files."""
    count: int
    """Records that may be found."""
    passing: Mask | None
    """Which docids may be found; None: all of them."""

    @property
    def codes(self) -> Bits:
        """The codes (slots, bytes) of all rows."""
        return self.layout.codes.rows(self.slots)

    @property
    def passing_slots(self) -> Mask | None:
        """Which slots may be found; None: all of them."""
        if self.passing is None or not self.layout.manifest.generation:
            return self.passing
        manifest = self.layout.manifest
        added = self.passing[manifest.compacted + manifest.purged :]
        return np.concatenate([self.passing[self.layout.compacted_docids], added])

    @property
    def all_slots(self) -> Slots:
        """The slots (count,) that may be found, ascending."""
        if self.passing is None:
            return np.arange(self.slots)
        return np.sort(self.layout.slots_of(np.flatnonzero(self.passing)))


@dataclass(frozen=True)
class Scan:
    """The search for one query."""

    view: View
    query: Float32
    """A unit vector (dimension,), or the +1/-1 directions of packed bits."""
    k: int
    """At most as many as may be found."""
    parameters: SearchParameters
    """Those for ``k`` results."""
    threads: int = 1

    @classmethod
    def of(cls, view: View, query: Float32, k: int, parameters: SearchParameters, *, threads: int = 1) -> Scan:
        """Make the search for the ``k`` best records, or as many as there are."""
        k = min(k, view.count)
        return cls(view, query, k, parameters.scaled(k), threads)

    @cached_property
    def bits(self) -> Bits:
        """The packed bits of the query."""
        return pack(self.query)

    def best(self) -> tuple[DocIds, Float32]:
        """Return docids and cosines of the best records, best first; of equal cosines, the older record first."""
        return self.ranked(self.candidates())

    def ranked(self, slots: Slots) -> tuple[DocIds, Float32]:
        """Return the best of some slots, as ``best`` does."""
        docids, scores = self._scored(slots)
        sequence = np.lexsort((docids, -scores))[: self.k]
        return docids[sequence], scores[sequence]

    def candidates(self) -> Slots:
        """Return the slots of the nearest rows by Hamming distance; those of all rows, where that is less work."""
        view, passing = self.view, self.view.passing
        if self.is_whole or view.count <= self.parameters.candidates:
            return view.all_slots
        if passing is not None and view.count <= _GATHER:
            slots = view.all_slots
            return self._nearest([(view.codes[slots], slots)])
        if view.layout.has_lists:
            ivf = ivf_of(view.layout)
            return self._in_lists(ivf) if passing is None else self._nearest(self._passing_in_lists(ivf, passing))
        if (mask := view.passing_slots) is not None:
            return nearest_passing(self.bits, view.codes, mask, self.parameters.candidates, threads=self.threads)
        return self._nearest([(view.codes, 0)])

    @property
    def is_whole(self) -> bool:
        """Whether all int8 vectors are scored, without candidates."""
        return self.view.count <= _WHOLE // len(self.query)

    def _scored(self, slots: Slots) -> tuple[DocIds, Float32]:
        """Return docids and cosines of candidates: of the best by their bits, or of all where all are scored."""
        layout, rescore = self.view.layout, max(self.k, self.parameters.rescore)
        if layout.vectors is None:
            return layout.docids_at(slots), bit_cosines(self.query, self.view.codes, slots)
        if len(slots) > rescore and not self.is_whole:
            scores = bit_cosines(self.query, self.view.codes, slots)
            slots = slots[np.argpartition(-scores, rescore - 1)[:rescore]]
        slots = np.sort(slots)
        return layout.docids_at(slots), cosines(self.query, layout.vectors, self.view.slots, slots)

    def _nearest(self, pieces: list[Piece]) -> Slots:
        return nearest(self.bits, pieces, self.parameters.candidates, threads=self.threads)

    def _in_lists(self, ivf: Ivf) -> Slots:
        """Return the nearest in the lists nearest to the query, and among the rows that are in no list yet."""
        wanted = self.parameters.candidates
        chosen = ivf.route(padded(self.query), self.parameters.nprobe)
        found = ivf.nearest(self.bits, chosen, wanted, threads=self.threads)
        if len(unlisted := self.view.codes[ivf.bounds[-1] :]):
            found.append(scan(self.bits, [(unlisted, ivf.bounds[-1])], wanted))
        return merged(found, wanted)

    def _passing_in_lists(self, ivf: Ivf, passing: Mask) -> list[Piece]:
        """Return the passing codes in the lists nearest to the query, and those that are in no list yet.

        Lists are opened until there are enough passing codes, or no lists left.
        """
        pieces = list(self._passing_pieces(passing, [(ivf.bounds[-1], self.view.slots)]))
        nprobe, enough = self.parameters.nprobe, _ENOUGH * self.parameters.candidates
        chosen = ivf.route(padded(self.query), ivf.nlist)
        scanned = start = 0
        while start < len(chosen) and (not start or scanned < enough):
            lists: list[int] = chosen[start : start + nprobe].tolist()
            opened = list(self._passing_pieces(passing, [(ivf.bounds[n], ivf.bounds[n + 1]) for n in lists]))
            scanned += sum(len(part) for part, _ in opened)
            pieces += opened
            start += nprobe
        return pieces

    def _passing_pieces(self, passing: Mask, ranges: list[tuple[int, int]]) -> Iterator[Piece]:
        """Yield the codes in ranges of slots, gathered where some of them do not pass."""
        codes = self.view.codes
        for start, end in ranges:
            passes = passing[self.view.layout.docids_at(np.arange(start, end))]
            if passes.all():
                yield codes[start:end], start
            else:
                slots = start + np.flatnonzero(passes)
                yield codes[slots], slots


def best_of_batch(view: View, queries: Float32, k: int, parameters: SearchParameters) -> list[tuple[DocIds, Float32]]:
    """Return what ``Scan.best`` returns for each query (n, dimension), on all cores."""
    scans = [Scan.of(view, query, k, parameters) for query in queries]
    if not scans:
        return []
    first = scans[0]
    wanted = first.parameters.candidates
    if view.layout.has_lists or view.passing is not None or first.is_whole or view.count <= wanted:
        return list(pool().map(Scan.best, scans))
    found: list[tuple[DocIds, Float32]] = []
    step = max(1, _BATCH // wanted)
    for start in range(0, len(scans), step):
        part = scans[start : start + step]
        slots = nearest_of_batch(pack(queries[start : start + step]), view.codes, wanted)
        found += pool().map(Scan.ranked, part, slots)
    return found


def search_range(view: View, bits: Bits, radius: int) -> tuple[DocIds, NDArray[np.int32]]:
    """Return docids and distances of all records at a Hamming distance of at most ``radius``, nearest first."""
    distances, slots = within(bits, view.codes, radius)
    if (passing := view.passing_slots) is not None:
        distances, slots = distances[passing[slots]], slots[passing[slots]]
    docids = view.layout.docids_at(slots)
    sequence = np.lexsort((docids, distances))
    return docids[sequence], distances[sequence]


def pack(vectors: Float32) -> Bits:
    """Pack sign bits, in whole bytes: missing dimensions count as zeros."""
    return binarize(padded(vectors))


def padded(vectors: Float32) -> Float32:
    """Fill vectors up with zeros to a multiple of eight dimensions."""
    missing = -vectors.shape[-1] % 8
    return np.pad(vectors, [(0, 0)] * (vectors.ndim - 1) + [(0, missing)]) if missing else vectors
