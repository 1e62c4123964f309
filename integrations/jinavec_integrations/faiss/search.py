"""Search: from a float query to the places of the best rows; Hamming, then bits against the float query, then int8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from jinavec.vectors import Bits, Float32, binarize
from jinavec_integrations.faiss.filters import Mask
from jinavec_integrations.faiss.hamming import Piece, merged, nearest, nearest_of_batch, nearest_passing, pool, scan
from jinavec_integrations.faiss.layout import Layout
from jinavec_integrations.faiss.lists import Lists
from jinavec_integrations.faiss.plan import Effort
from jinavec_integrations.faiss.rescore import bit_cosines, cosines
from jinavec_integrations.faiss.rowfile import Rows

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
    """What one search may find: a layout as of a moment, less what is deleted or does not pass the filter."""

    layout: Layout
    places: int
    """Rows in the row files."""
    count: int
    """Rows that may be found."""
    passing: Mask | None
    """Which row numbers may be found; None: all of them."""


def best(view: View, query: Float32, k: int, effort: Effort, *, threads: int = 1) -> tuple[Rows, Float32]:
    """Return the numbers and cosines of the k best rows, best first; of equal cosines, the older record first.

    Args:
        view: what may be found.
        query: one unit vector (dimension,).
        k: the number of rows.
        effort: how much to look at.
        threads: cores to use for a large scan.
    """
    k = min(k, view.count)
    effort = effort.scaled(k)
    return _ranked(view, query, candidates(view, query, effort, threads), k, effort)


def _ranked(view: View, query: Float32, places: Rows, k: int, effort: Effort) -> tuple[Rows, Float32]:
    numbers, scores = rescored(view, query, places, max(k, effort.rows))
    sequence = np.lexsort((numbers, -scores))[:k]
    return numbers[sequence], scores[sequence]


def best_of_batch(view: View, queries: Float32, k: int, effort: Effort) -> list[tuple[Rows, Float32]]:
    """Return what ``best`` returns for each query (n, dimension), on all cores."""
    flat = view.layout.lists is None and view.passing is None
    if flat and view.count > max(effort.scaled(min(k, view.count)).candidates, _WHOLE // queries.shape[1]):
        return _best_of_flat_batch(view, queries, k, effort)
    return list(pool().map(best, repeat(view), queries, repeat(k), repeat(effort)))


def _best_of_flat_batch(view: View, queries: Float32, k: int, effort: Effort) -> list[tuple[Rows, Float32]]:
    k = min(k, view.count)
    effort = effort.scaled(k)
    codes = view.layout.codes.rows(view.places)
    found: list[tuple[Rows, Float32]] = []
    step = max(1, _BATCH // effort.candidates)
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        places = nearest_of_batch(pack(part), codes, effort.candidates)
        found += pool().map(_ranked, repeat(view), part, places, repeat(k), repeat(effort))
    return found


def candidates(view: View, query: Float32, effort: Effort, threads: int) -> Rows:
    """Return the places of the nearest rows by Hamming distance; those of all rows, where that is less work."""
    if view.count <= max(effort.candidates, _WHOLE // len(query)):
        return _all_places(view)
    bits = pack(query)
    codes = view.layout.codes.rows(view.places)
    lists = view.layout.lists
    if view.passing is not None and view.count <= _GATHER:
        places = _all_places(view)
        pieces: list[Piece] = [(codes[places], places)]
    elif lists is not None:
        if view.passing is None:
            return _in_lists(view, codes, lists, query, bits, effort, threads=threads)
        pieces = _listed_pieces(view, view.passing, codes, lists, query, effort)
    elif (passing := passing_places(view)) is not None:
        return nearest_passing(bits, codes, passing, effort.candidates, threads=threads)
    else:
        pieces = [(codes, 0)]
    return nearest(bits, pieces, effort.candidates, threads=threads)


def rescored(view: View, query: Float32, places: Rows, rows: int) -> tuple[Rows, Float32]:
    """Return numbers and cosines of candidates: of the best ``rows`` by their bits, or of all that are scored whole."""
    layout = view.layout
    if layout.vectors is None:
        return layout.numbers_at(places), bit_cosines(query, layout.codes.rows(view.places), places)
    if len(places) > rows and view.count > _WHOLE // len(query):
        scores = bit_cosines(query, layout.codes.rows(view.places), places)
        places = places[np.argpartition(-scores, rows - 1)[:rows]]
    places = np.sort(places)
    return layout.numbers_at(places), cosines(query, layout.vectors, view.places, places)


def passing_places(view: View) -> Mask | None:
    """Return which places may be found; None: all of them."""
    if view.passing is None or not view.layout.manifest.generation:
        return view.passing
    settled, gone = view.layout.manifest.settled, view.layout.manifest.gone
    return np.concatenate([view.passing[view.layout.settled_numbers], view.passing[settled + gone :]])


def pack(vectors: Float32) -> Bits:
    """Pack sign bits, in whole bytes: missing dimensions count as zeros."""
    return binarize(padded(vectors))


def padded(vectors: Float32) -> Float32:
    """Fill vectors up with zeros to a multiple of eight dimensions."""
    missing = -vectors.shape[-1] % 8
    return np.pad(vectors, [(0, 0)] * (vectors.ndim - 1) + [(0, missing)]) if missing else vectors


def _all_places(view: View) -> Rows:
    if view.passing is None:
        return np.arange(view.places)
    return np.sort(view.layout.places_of(np.flatnonzero(view.passing)))


def _passing_pieces(view: View, passing: Mask, codes: Bits, ranges: list[tuple[int, int]]) -> Iterator[Piece]:
    """Yield the codes in ranges of places, gathered where some of them do not pass."""
    for start, end in ranges:
        passes = passing[view.layout.numbers_at(np.arange(start, end))]
        if passes.all():
            yield codes[start:end], start
        else:
            places = start + np.flatnonzero(passes)
            yield codes[places], places


def _in_lists(
    view: View, codes: Bits, lists: Lists, query: Float32, bits: Bits, effort: Effort, *, threads: int
) -> Rows:
    """Return the nearest in the lists nearest to a query, and among the rows that are in no list yet."""
    chosen = lists.route(padded(query), effort.probes)
    found = view.layout.listed.nearest(bits, chosen, effort.candidates, threads=threads)
    if len(unlisted := codes[lists.bounds[-1] :]):
        found.append(scan(bits, [(unlisted, lists.bounds[-1])], effort.candidates))
    return merged(found, effort.candidates)


def _listed_pieces(view: View, passing: Mask, codes: Bits, lists: Lists, query: Float32, effort: Effort) -> list[Piece]:
    """Return the passing codes in the lists nearest to a query, and those that are in no list yet.

    Lists are opened until there are enough passing codes, or no lists left.
    """
    pieces = list(_passing_pieces(view, passing, codes, [(lists.bounds[-1], view.places)]))
    probes, enough = effort.probes, _ENOUGH * effort.candidates
    chosen = lists.route(padded(query), len(lists.centroids))
    scanned = start = 0
    while start < len(chosen) and (not start or scanned < enough):
        numbers: list[int] = chosen[start : start + probes].tolist()
        ranges = [(lists.bounds[number], lists.bounds[number + 1]) for number in numbers]
        opened = list(_passing_pieces(view, passing, codes, ranges))
        scanned += sum(len(part) for part, _ in opened)
        pieces += opened
        start += probes
    return pieces
