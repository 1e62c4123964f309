"""The search that is compiled from kernel.c, where a compiler was found: called by address, with what a layout maps.

Everything that the kernel reads by an address is checked before (sizes, bounds of lists, places), and kept alive by who
calls it; docids in ``order`` it checks itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import IndexDamaged
from jinavec.process import cores
from jinavec.vectors import Float32, binarize
from jinavec_integrations.faiss.parameters import SearchParameters
from jinavec_integrations.faiss.search.threads import pool
from jinavec_integrations.faiss.search.view import Found, View
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.storage.rowfile import code_width

LEVELS = ("portable", "avx2", "avx512")
"""Sets of instructions that the kernel is compiled for, as it numbers them."""
_PREFIX_WORDS = 4
"""Words of 64 bits of each code that are kept side by side in memory, and scanned first."""
_PREFIXES = 24 * 2**20
"""Bytes of prefixes, at most; of more rows the whole codes are scanned, where they lie."""
_MORE = 2
"""How many candidates by their prefixes stand for one by its whole code, in proportion to the bits."""
_FEW = 16
"""Rows that pass a filter are scanned by themselves if they are no more than one of so many."""
_SHARED = 5 * 2**20
"""Bytes that a batch scans in all, from which it is worth being shared by threads."""
_TOGETHER = 2**20
"""Candidates that there is memory for at a time."""
_SPARE = 1024
"""Candidates that each search has room for beyond those that it keeps, about."""
_DAMAGED = -1


class _Files(ctypes.Structure):
    """What kernel.c calls Files."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("codes", "vectors", "prefix", "order", "offsets", "centroids", "centroid_blocks")
        ),
        *((name, ctypes.c_int64) for name in ("dimension", "width", "prefix_words", "compacted", "purged", "nlist")),
    ]


class _Ask(ctypes.Structure):
    """What kernel.c calls Ask."""

    _fields_ = [
        ("passing", ctypes.c_void_p),
        ("chosen", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("slots", "count", "k", "candidates", "rescore", "nprobe", "is_cold")),
    ]


@dataclass
class _Mapped:
    """The addresses of a layout's files, and what lies there."""

    files: _Files
    slots: int
    """Rows that are mapped."""
    kept: list[NDArray[Any]]
    prefix: NDArray[np.uint64]
    """The first words of the codes, in blocks; empty where there are none."""
    centroid_blocks: NDArray[np.uint64]
    is_cold: int = 1
    """Whether the last search waited for the disk."""


def level() -> str:
    """Return the set of instructions that the kernel runs with: the best of the processor's; "faiss" without a kernel.

    The environment's JINAVEC_KERNEL may ask for a lower one, to compare them.
    """
    wanted = os.environ.get("JINAVEC_KERNEL")
    return wanted if wanted in _levels() else _levels()[-1]


def search(view: View, queries: Float32, k: int, parameters: SearchParameters, level: str) -> list[Found]:
    """Return the best records for each query (n, dimension), a unit vector; batches on all cores.

    Args:
        view: what may be found.
        queries: float32 (n, dimension).
        k: records for each, no more than may be found.
        parameters: how much is looked at, for k records.
        level: the set of instructions.

    Raises:
        IndexDamaged: a file names rows that were never there.
    """
    mapped = _mapped(view)
    room = parameters.candidates + _SPARE
    parts = -(-len(queries) * room // _TOGETHER)
    if len(queries) > 1 and len(queries) * view.slots * mapped.files.width >= _SHARED:
        parts = max(parts, min(cores(), len(queries)))
    if parts == 1:
        return _search(view, mapped, queries, k, parameters, level)

    def search_share(share: Float32) -> list[Found]:
        return _search(view, mapped, share, k, parameters, level)

    found = pool().map(search_share, np.array_split(queries, min(parts, len(queries))))
    return [one for share in found for one in share]


def _search(
    view: View, mapped: _Mapped, queries: Float32, k: int, parameters: SearchParameters, level: str
) -> list[Found]:
    files, passing, chosen, candidates = mapped.files, view.passing, None, parameters.candidates
    if passing is not None and view.count * _FEW <= view.slots:
        chosen, passing = view.all_slots, None
    elif files.prefix:
        candidates = _by_prefix(candidates, files.width)
    ask = _Ask(
        None if passing is None else _address(passing),
        None if chosen is None else _address(chosen),
        view.slots,
        view.count,
        k,
        min(candidates, view.count),
        min(parameters.rescore, view.count),
        min(parameters.nprobe, files.nlist),
        mapped.is_cold,
    )
    count = len(queries)
    # Arrays of ctypes and bytes: to ask NumPy for the address of an array takes longer than to copy a query.
    docids: Any = (ctypes.c_int64 * (count * k))()
    scores: Any = (ctypes.c_float * (count * k))()
    counts = (ctypes.c_int64 * count)()
    status = _entry(level)(files, ask, queries.tobytes(), count, docids, scores, counts)
    if status:
        if status == _DAMAGED:
            raise IndexDamaged(f"{view.layout.codes.folder} is damaged: order.int64 names rows that were never there")
        raise MemoryError
    mapped.is_cold = ask.is_cold
    rows = np.frombuffer(docids, np.int64).reshape(count, k)
    values = np.frombuffer(scores, np.float32).reshape(count, k)
    return [(rows[n, :found], values[n, :found]) for n, found in enumerate(counts)]


def _by_prefix(candidates: int, width: int) -> int:
    """Return how many candidates by their prefixes stand for those by whole codes of so many bytes."""
    return (
        max(candidates, _MORE * candidates * width // (8 * _PREFIX_WORDS)) if width > 8 * _PREFIX_WORDS else candidates
    )


def _mapped(view: View) -> _Mapped:
    """Return the addresses of at least the rows of a view; they are found once, and again as rows are added."""
    known: _Mapped | None = view.layout.derived.get("kernel")
    if known is None or known.slots < view.slots:
        known = view.layout.derived["kernel"] = _map(view.layout, view.slots, known)
    return known


def _map(layout: Layout, slots: int, before: _Mapped | None) -> _Mapped:
    manifest, width = layout.manifest, code_width(layout.manifest.contract.dimension)
    nlist = manifest.plan.nlist if layout.has_lists else 0
    codes = layout.codes.rows(slots)
    vectors = None if layout.vectors is None else layout.vectors.rows(slots)
    order = layout.arrays["order.int64"].values if manifest.generation and manifest.compacted else None
    offsets, centroids = (layout.offsets, layout.centroids) if nlist else (None, None)
    none = np.empty(0, np.uint64)
    prefix = none if before is None else before.prefix
    words = min(_PREFIX_WORDS, -(-width // 8))
    if nlist or 8 * words * slots > _PREFIXES:
        prefix = none
    else:
        prefix = _extended(prefix, codes, 0 if before is None or not len(prefix) else before.slots, words)
    if before is not None:
        centroid_blocks = before.centroid_blocks
    else:
        centroid_blocks = (
            none if centroids is None else _extended(none, binarize(np.nan_to_num(centroids)), 0, -(-width // 8))
        )
    kept = [codes, vectors, prefix, order, offsets, centroids, centroid_blocks]
    files = _Files(
        *(None if array is None or not len(array) else _address(array) for array in kept),
        manifest.contract.dimension,
        width,
        words,
        manifest.compacted,
        manifest.purged,
        nlist,
    )
    return _Mapped(files, slots, [array for array in kept if array is not None], prefix, centroid_blocks)


def _extended(blocks: NDArray[np.uint64], codes: NDArray[np.uint8], start: int, words: int) -> NDArray[np.uint64]:
    """Return blocks with the first words of all codes, of which ``start`` are there already.

    Rows are only ever written behind those that another thread looks at.
    """
    needed = -(-len(codes) // 32) * 32 * words
    if len(blocks) < needed:
        larger = np.empty(max(needed, math.ceil(1.25 * len(blocks)) // 32 // words * 32 * words) + 7, np.uint64)
        larger = larger[-_address(larger) % 64 // 8 :]
        larger[: len(blocks)] = blocks
        blocks = larger
    library: Any = _library()
    library.fill(_address(blocks), _address(codes), start, len(codes), words, codes.shape[1])
    return blocks


def _address(array: NDArray[Any]) -> int:
    return array.__array_interface__["data"][0]


def _file() -> Path:
    """Return where what is compiled from the source as it is now would lie."""
    source = Path(__file__).with_name("kernel.c")
    return source.with_name(f"kernel.{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so")


@cache
def _levels() -> tuple[str, ...]:
    library = _library()
    return ("faiss",) if library is None else ("faiss", *LEVELS[: library.best_level() + 1])


@cache
def _entry(level: str) -> Any:
    return getattr(_library(), f"search_{level}")


@cache
def _library() -> Any:
    """Return what was compiled; None where nothing was."""
    try:
        library: Any = ctypes.CDLL(str(_file()))
    except OSError:
        return None
    pointers, whole = [ctypes.c_void_p] * 3, ctypes.c_int64
    for name in LEVELS[: library.best_level() + 1]:
        structures = ctypes.POINTER(_Files), ctypes.POINTER(_Ask)
        getattr(library, f"search_{name}").argtypes = (*structures, ctypes.c_void_p, whole, *pointers)
    library.fill.argtypes, library.fill.restype = (ctypes.c_void_p, ctypes.c_void_p, *[whole] * 4), None
    return library
