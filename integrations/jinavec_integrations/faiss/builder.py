"""BinaryIndexBuilder: fills a new index batch by batch, and arranges it at the end."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import EngineError, InvalidInput, InvalidType, InvalidVectors
from jinavec.options import read_options
from jinavec.records import Record
from jinavec_integrations.faiss.folder import has_index, locate, require_vacant
from jinavec_integrations.faiss.index import BinaryIndex
from jinavec_integrations.faiss.moving import Report
from jinavec_integrations.faiss.options import FaissOptions
from jinavec_integrations.faiss.parquet import read_parquet
from jinavec_integrations.faiss.plan import Plan

_BATCH = 16_384
"""Vectors stored at a time, and so kept in memory; fewer where they are wide."""
_BATCH_BYTES = 2**25
_TEXTS = 1024
"""Texts encoded and stored at a time."""
_PARQUET = 2048
"""Rows of a Parquet file read and stored at a time: their columns may hold long texts."""


class BinaryIndexBuilder:
    """Builds an index of any size in the memory of one batch.

    Each batch is on the disk when a call returns, in a folder that is an index already: a build that is interrupted
    goes on with ``resume=True``, which encodes no record again that is there unchanged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        contract: Contract,
        options: FaissOptions | Mapping[str, Any] | None = None,
        resume: bool = False,
        report: Report | None = None,
    ) -> None:
        """Begin an index in a new or empty folder.

        Args:
            path: the folder.
            contract: what every vector is made under.
            options: what is not to be decided by the number of vectors.
            resume: whether to go on with an index that is there already.
            report: called with a phase (storing, training, ...), the rows done in it, and the rows there are (0: not
                known).

        Raises:
            EngineError: something is there already.
            ContractMismatch: what is there has another contract.
        """
        if not isinstance(contract, Contract):
            raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")
        self.folder = locate(path)
        self.contract = contract
        self.options = read_options(FaissOptions, options)
        self._report = report
        self._done = 0
        self._index: BinaryIndex | None = None
        self.plan: Plan | None = None
        """How the rows were arranged, once ``finish`` has done so."""
        if resume and has_index(self.folder):
            self._index = BinaryIndex.open(self.folder, contract=contract, options=self.options)
        else:
            require_vacant(self.folder)

    def add(self, records: Iterable[Record], vectors: ArrayLike | Iterable[ArrayLike]) -> int:
        """Store records with their vectors, replacing those with the same id; return how many were stored.

        Args:
            records: any iterable; it is read as the vectors are.
            vectors: as for ``add_vectors``.

        Raises:
            InvalidInput: more of the one than of the other.
            InvalidRecord, InvalidVectors: something that cannot be stored; what came before is.
        """
        given = iter(records)
        stored = 0
        for block in _blocks(vectors):
            part = list(islice(given, len(block)))
            if len(part) < len(block):
                raise InvalidInput(f"there are more vectors than records: {stored + len(part)} records")
            stored += self._store(part, block)
        if next(given, None) is not None:
            raise InvalidInput(f"there are more records than vectors: {stored} vectors")
        return stored

    def add_texts(self, records: Iterable[Record], encoder: Encoder) -> int:
        """Encode records as documents and store them; return how many. Those that are there unchanged are passed over.

        Raises:
            ContractMismatch: the encoder has another contract.
        """
        self.contract.check(encoder.contract, ours="the index")
        stored = 0
        given = iter(records)
        while batch := list(islice(given, _TEXTS)):
            index = self._opened(keeps_vectors=True)
            index.encoder = encoder  # remembered in the manifest, so that searches need not be told
            new = index.missing(batch)
            stored += index.add(new) if new else 0
            self._tell(len(batch))
        return stored

    def add_vectors(self, vectors: ArrayLike | Iterable[ArrayLike], ids: Iterable[str] | None = None) -> int:
        """Store vectors without texts; return how many.

        Args:
            vectors: floats (n, dimension), or packed bits (n, dimension / 8) as uint8: an array, a memory map, or an
                iterable of such blocks. Packed bits are all that is kept then, and what rescoring uses.
            ids: one for each vector; by default the number of what this builder was given before it. So a build that
                resumes is given everything again, and replaces what is there.

        Raises:
            InvalidInput: other vectors than before, or another number of ids.
            InvalidVectors: something that cannot be stored; what came before is.
        """
        if ids is not None:
            return self.add(map(Record, ids), vectors)
        first = self._done
        stored = 0
        for block in _blocks(vectors):
            stored += self._store([Record(str(first + stored + row)) for row in range(len(block))], block)
        return stored

    def add_parquet(
        self, path: str | os.PathLike[str], *, vector: str, id: str | None = None, text: str | None = None
    ) -> int:
        """Store the rows of a Parquet file, batch by batch; return how many.

        Args:
            path: the file.
            vector: the column of vectors: lists of floats; or packed bits, as lists of uint8 or binaries of a fixed
                size.
            id: the column of ids; without one, rows are numbered as by ``add_vectors``.
            text: the column of texts, if there is one. Every other column becomes metadata.

        Raises:
            InvalidInput: the file cannot be read, or has no such column.
            InvalidRecord, InvalidVectors: a row that cannot be stored; the batches before it are.
            MissingExtra: pyarrow is not installed.
        """
        first = self._done
        stored = 0
        for records, block in read_parquet(path, vector, id, text, _PARQUET):
            if id is None:
                records = [replace(record, id=str(first + int(record.id))) for record in records]
            stored += self._store(records, block)
        return stored

    def finish(self) -> BinaryIndex:
        """Arrange the rows by their number, and return the index.

        Raises:
            EngineError: no space; what was stored is there, and finish can be called again.
        """
        index = self._opened(keeps_vectors=True)
        self.plan = index.finish(self._report)
        self._index = None
        return index

    def close(self) -> None:
        """Let go of the index; what was stored stays, and another builder can resume."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _store(self, records: list[Record], block: NDArray[Any]) -> int:
        packed = block.dtype == np.uint8
        index = self._opened(keeps_vectors=not packed)
        stored = index.add_packed(records, block) if packed else index.add(records, block)
        self._tell(len(records))
        return stored

    def _opened(self, *, keeps_vectors: bool) -> BinaryIndex:
        if self._index is None:
            if self.plan is not None:
                raise EngineError(f"the build of {self.folder} is finished; add to the index itself")
            kind = self.options.vectors if self.options.vectors != "auto" else "int8" if keeps_vectors else "none"
            options = replace(self.options, vectors=kind)
            self._index = BinaryIndex.create(self.folder, self.contract, options=options)
        return self._index

    def _tell(self, rows: int) -> None:
        self._done += rows
        if self._report is not None:
            self._report("storing", self._done, 0)


def _blocks(vectors: ArrayLike | Iterable[ArrayLike]) -> Iterator[NDArray[Any]]:
    """Yield vectors as arrays (n, width) of at most a batch; of a memory map, only that much is read at a time."""
    if isinstance(vectors, np.ndarray) or hasattr(vectors, "__array__"):
        yield from _cut(np.asanyarray(vectors))
    elif isinstance(vectors, (list, tuple)) and vectors and np.ndim(cast("Any", vectors[0])) == 1:
        yield from _cut(np.asarray(vectors))
    elif isinstance(vectors, Iterable) and not isinstance(vectors, (str, bytes)):
        for block in cast("Iterable[ArrayLike]", vectors):
            yield from _cut(np.asanyarray(block))
    else:
        raise InvalidType(f"vectors must be an array or an iterable of arrays, not {type(vectors).__name__}")


def _cut(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    if array.ndim != 2:
        raise InvalidVectors(f"vectors have the shape {array.shape}; expected (n, width)")
    mapped = array if isinstance(array, np.memmap) and array.mode in ("r", "r+") else None
    step = min(_BATCH, max(1, _BATCH_BYTES // max(1, array.shape[1] * array.itemsize)))
    for start in range(0, len(array), step):
        block = np.array(array[start : start + step])
        if mapped is not None:
            _let_go(mapped)
        yield block


def _let_go(array: NDArray[Any]) -> None:
    """Give back the pages of a memory map that were read; they are read again should anybody need them."""
    memory: mmap.mmap | None = getattr(array, "_mmap", None)
    if memory is not None and hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)
