"""Indexes made with FAISS itself, files or objects, read batch by batch."""

from __future__ import annotations

import mmap
import os
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import InvalidInput, InvalidType, InvalidVectors, brief
from jinavec.id_set import IdSet
from jinavec.records import Record, only_records
from jinavec.vectors import Bits, Float32
from jinavec_integrations.faiss.storage.foreign_file import faiss_file

BitOrder = Literal["msb", "lsb"]
"""Which bit of a byte is its first dimension: the most significant one, as numpy.packbits and sentence-transformers
write it; or the least significant one, as faiss.fvec2bitvec does. FAISS's files do not tell."""
Source = str | os.PathLike[str] | Any
"""The path of a FAISS file, or an index object."""
Labels = NDArray[np.int64]
_MAPS = ("IndexIDMap", "IndexIDMap2", "IndexBinaryIDMap", "IndexBinaryIDMap2")
_FLOATS = ("IndexFlat", "IndexFlatIP", "IndexFlatL2")
_SUPPORTED = "IndexBinaryFlat, IndexBinaryIVF, IndexBinaryHNSW, IndexFlatIP, IndexFlatL2; these in an IDMap or IDMap2"
_ROWS, _BYTES = 16_384, 2**23
"""The most rows, and the most bytes, of a batch."""
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), axis=1)[:, 0]
"""Each byte with its bits the other way round."""
_READING = threading.Lock()


@dataclass(frozen=True)
class _Rows:
    """What an index holds."""

    dtype: type[np.uint8 | np.float32]
    pieces: list[Bits]
    """The bytes (n, width) of its vectors, where FAISS has them."""
    labels: Labels
    """The id of each; its position, where there are no ids."""


class ForeignIndex:
    """The vectors of a FAISS index in the order of their positions; those of an IVF in the order of their ids."""

    def __init__(self, source: Source, dimension: int | None, bit_order: BitOrder = "msb") -> None:
        """Map a file, or take an index, neither of which must change meanwhile, and check everything in it.

        Args:
            source: a path, or an index of FAISS.
            dimension: the dimensions that its vectors must have; None: any.
            bit_order: that of packed bits.

        Raises:
            InvalidInput: no index that can be imported, or a damaged one.
            InvalidVectors: vectors of another width, or zero, NaN or infinity in one.
            InvalidType: neither a path nor an index.
        """
        if bit_order not in ("msb", "lsb"):
            raise InvalidInput(f"bit_order must be 'msb' or 'lsb', not {brief(bit_order)}")
        given: Any = source
        path = Path(os.path.expanduser(given)) if isinstance(source, (str, os.PathLike)) else None
        self.name = f"this {type(given).__name__}" if path is None else str(path)
        self._is_reversed = bit_order == "lsb"
        self._index, self._map = (given, None) if path is None else _read(path)  # which own the bytes
        self._faiss: Any = import_module("faiss")
        rows = self._rows(self._index)
        self._dtype, self._pieces, self._width = rows.dtype, rows.pieces, rows.pieces[0].shape[1]
        self._bounds = np.cumsum([0, *map(len, rows.pieces)])
        self._order = np.argsort(rows.labels) if len(rows.pieces) > 1 else None
        self._labels = rows.labels if self._order is None else rows.labels[self._order]
        if dimension is not None:
            self._check_width(dimension)
        if not self.is_packed:
            for block in self._blocks():
                del block

    @property
    def is_packed(self) -> bool:
        """Whether its vectors are packed bits."""
        return self._dtype == np.uint8

    @cached_property
    def has_ids(self) -> bool:
        """Whether it has ids that are not just the positions of its vectors."""
        return not np.array_equal(self._labels, np.arange(len(self)))

    def __len__(self) -> int:
        return len(self._labels)

    def batches(
        self, ids: Iterable[str] | None = None, records: Iterable[Record] | None = None, first: int = 0
    ) -> Iterator[tuple[list[Record], NDArray[Any]]]:
        """Yield records with their vectors: float32 (n, dimension), or packed bits (n, bytes).

        Args:
            ids: one for each vector, in place of its own.
            records: the same with texts and metadata.
            first: the number of the first vector, where there are no ids.

        Raises:
            InvalidInput: not one id for each vector, or one twice, among its own too if they count.
        """
        given = self._named(ids, records, first)
        met, count = IdSet(), 0
        for block in self._blocks():
            batch = list(islice(given, len(block)))
            count += len(batch)
            if len(batch) < len(block):
                raise InvalidInput(f"{self.name} holds {len(self)} vectors, and there are ids for {count} only")
            _check_new([record.id for record in batch], met)
            yield batch, block
        if next(given, None) is not None:
            raise InvalidInput(f"{self.name} holds {len(self)} vectors, and there are more ids")

    def _named(self, ids: Iterable[str] | None, records: Iterable[Record] | None, first: int) -> Iterator[Record]:
        if ids is not None and records is not None:
            raise InvalidInput("give ids= or records=, which have ids, not both")
        if (ids is None and records is None) or self._order is not None:
            self._check_labels()
        if records is not None:
            return iter(only_records(records))
        if ids is None:
            ids = (str(label) for label in (self._labels if self.has_ids else range(first, first + len(self))))
        return map(Record, ids)

    def _blocks(self) -> Iterator[NDArray[Any]]:
        step = min(_ROWS, max(1, _BYTES // self._width))
        for start in range(0, len(self), step):
            block = self._gathered(start, min(start + step, len(self)))
            if not self.is_packed:
                yield self._directed(block.view(np.float32), start)
            else:
                yield _REVERSED[block] if self._is_reversed else block
            if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)  # else the pages of a large file would fill the memory

    def _gathered(self, start: int, end: int) -> Bits:
        """Copy the rows from one position up to another together."""
        if self._order is None:
            return np.array(self._pieces[0][start:end])
        found, rows = np.empty((end - start, self._width), np.uint8), self._order[start:end]
        numbers = np.searchsorted(self._bounds, rows, "right") - 1
        by_piece = np.argsort(numbers, kind="stable")
        for here in np.split(by_piece, np.flatnonzero(np.diff(numbers[by_piece])) + 1):
            number = numbers[here[0]]
            found[here] = self._pieces[number][rows[here] - self._bounds[number]]
        return found

    def _rows(self, index: Any) -> _Rows:
        faiss = self._faiss
        if not isinstance(index, (faiss.Index, faiss.IndexBinary)):
            raise InvalidType(f"expected an index of FAISS or the path of its file, not {brief(index)}")
        index = (faiss.downcast_index if isinstance(index, faiss.Index) else faiss.downcast_IndexBinary)(index)
        kind = type(index).__name__
        if kind in _MAPS:
            return self._mapped(self._rows(index.index), faiss.vector_to_array(index.id_map))
        if kind == "IndexBinaryHNSW":
            return self._rows(index.storage)
        if kind == "IndexBinaryIVF":
            return self._listed(faiss.downcast_InvertedLists(index.invlists), index.code_size)
        if kind == "IndexBinaryFlat":
            return _Rows(np.uint8, [self._flat(index.xb, index.ntotal, index.code_size)], _positions(index.ntotal))
        if kind in _FLOATS:
            return _Rows(np.float32, [self._flat(index.codes, index.ntotal, 4 * index.d)], _positions(index.ntotal))
        raise InvalidInput(f"{self.name}: the type {kind} cannot be imported; supported are {_SUPPORTED}")

    def _flat(self, codes: Any, count: int, width: int) -> Bits:
        if codes.size() != count * width:
            raise InvalidInput(f"{self.name} is damaged: {codes.size()} bytes for {count} vectors of {width} bytes")
        return self._view(codes.data(), count * width, np.uint8).reshape(count, width)

    def _listed(self, lists: Any, width: int) -> _Rows:
        """Return what is in inverted lists; what was removed is in none of them."""
        if type(lists) is not self._faiss.ArrayInvertedLists:
            kind = type(lists).__name__
            raise InvalidInput(
                f"{self.name}: its lists are {kind}: copy them into ArrayInvertedLists first (merge_from)"
            )
        sizes: list[int] = [lists.list_size(number) for number in range(lists.nlist)]
        codes = (self._view(lists.get_codes(number), size * width, np.uint8) for number, size in enumerate(sizes))
        labels = (self._view(lists.get_ids(number), size, np.int64) for number, size in enumerate(sizes))
        pieces = [part.reshape(-1, width) for part in codes if len(part)]
        none = np.empty((0, width), np.uint8)
        return _Rows(np.uint8, [none, *pieces], np.concatenate([np.empty(0, np.int64), *labels]))

    def _mapped(self, inner: _Rows, ids: Labels) -> _Rows:
        """Return what is in a map, which has an id for each number that the index inside gave its vectors.

        In a map around an IVF the ids move up when some are removed, and the numbers in the lists do not: from then on
        FAISS itself finds wrong ids, and which were the right ones is not known any more.
        """
        if not np.array_equal(np.sort(inner.labels), np.arange(len(ids))):
            raise InvalidInput(f"{self.name} is damaged: its IDMap has other ids than the index inside has vectors")
        return _Rows(inner.dtype, inner.pieces, ids[inner.labels])

    def _view(self, pointer: Any, size: int, dtype: type[Any]) -> NDArray[Any]:
        if not size:
            return np.empty(0, dtype)
        view: NDArray[Any] = self._faiss.rev_swig_ptr(pointer, size)
        if self._map is not None:
            start = view.ctypes.data - np.frombuffer(self._map, np.uint8).ctypes.data
            if 0 <= start < len(self._map) < start + view.nbytes:  # of a list FAISS looks at whole bytes only
                raise InvalidInput(f"{self.name} is damaged: it ends within a list")
        return view

    def _check_width(self, dimension: int) -> None:
        if self._width == (-(-dimension // 8) if self.is_packed else 4 * dimension):
            return
        if self.is_packed:
            held, wanted = f"codes of {self._width} bytes", f"{dimension} dimensions, {-(-dimension // 8)} bytes"
        else:
            held, wanted = f"vectors of {self._width // 4} dimensions", f"{dimension} dimensions"
        raise InvalidVectors(f"{self.name} holds {held}; the contract says {wanted}")

    def _check_labels(self) -> None:
        labels = np.sort(self._labels)
        twice = labels[1:][labels[1:] == labels[:-1]]
        if len(twice):
            raise InvalidInput(
                f"{self.name} holds more than one vector with the id {twice[0]}: remove all but one, or give each of an"
                " IDMap an id of its own (ids=)"
            )

    def _directed(self, vectors: Float32, start: int) -> Float32:
        is_finite = np.isfinite(vectors)
        bad = np.flatnonzero(~is_finite.all(axis=1) | (vectors == 0).all(axis=1))
        if len(bad):
            row = int(bad[0])
            what = "is all zeros: it has no direction to compare" if is_finite[row].all() else "holds NaN or infinity"
            raise InvalidVectors(f"{self.name}: the vector with the id {self._labels[start + row]} {what}")
        return vectors


def _positions(count: int) -> Labels:
    return np.arange(count, dtype=np.int64)


def _check_new(ids: list[str], met: IdSet) -> None:
    counts = Counter(ids)
    for (id, count), is_new in zip(counts.items(), met.add(counts), strict=True):
        if count > 1 or not is_new:
            raise InvalidInput(f"the id {id!r} is given more than once")


def _read(path: Path) -> tuple[Any, mmap.mmap]:
    """Return the index in a FAISS file, and the map of the file that it points into.

    FAISS could map the file itself, but its reader crashes where a file ends within a number.

    Raises:
        InvalidInput: it cannot be read, or is none, or is damaged.
    """
    try:
        path.stat()
        kind = faiss_file(path)
        memory = None if kind is None else _mapped(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if memory is None:
        raise InvalidInput(f"{path} is not an index file of FAISS")
    faiss: Any = import_module("faiss")
    reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(np.frombuffer(memory, np.uint8)), len(memory))
    read = faiss.read_index_binary if kind == "binary" else faiss.read_index
    try:
        with _bounded(faiss, len(memory)):
            return read(reader), memory
    except (RuntimeError, MemoryError) as error:  # as what the exceptions of C++ arrive
        reason = " ".join(str(error).split()).rpartition("Error: ")[2]
        raise InvalidInput(f"FAISS cannot read {path}, of {len(memory)} bytes: {reason[:200]}") from error


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@contextmanager
def _bounded(faiss: Any, size: int) -> Generator[None]:
    """Let FAISS allocate no array that is longer than a file: the lengths in a damaged one could fill the memory."""
    with _READING:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(size)
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before)
