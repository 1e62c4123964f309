"""BinaryIndexBuilder: fills a new index batch by batch, and optimizes it at the end."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import EngineError, InvalidRecord, InvalidType, brief
from jinavec.ingest import Progress, ReportProgress
from jinavec.options import read_options
from jinavec.parquet import ParquetFile, plain_row
from jinavec.records import Record
from jinavec.vector_rows import read_blocks
from jinavec_integrations.faiss.index import BinaryIndex
from jinavec_integrations.faiss.parameters import FaissOptions, Plan
from jinavec_integrations.faiss.search.foreign import BitOrder, ForeignIndex, Source
from jinavec_integrations.faiss.storage.create import has_index, require_vacant
from jinavec_integrations.faiss.storage.folder import locate

_PACKED = 16_384
"""Packed bits stored at a time."""
_PARQUET = 2048
"""Rows of a Parquet file read at a time: their columns may hold long texts."""

Item = TypeVar("Item")


class BinaryIndexBuilder:
    """Builds an index of any size in the memory of a few batches.

    Each batch is stored in a folder that is an index already: a build that is interrupted goes on with ``resume=True``,
    which encodes no record again that is stored unchanged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        contract: Contract,
        options: FaissOptions | Mapping[str, Any] | None = None,
        resume: bool = False,
        progress: ReportProgress | None = None,
    ) -> None:
        """Begin an index in a new or empty folder.

        Args:
            path: the folder.
            contract: what every vector is made under.
            options: what is not to be decided by the number of vectors.
            resume: whether to go on with an index that exists already.
            progress: called as by ``BinaryIndex.ingest`` and ``optimize``; an ingest counts all records given to this
                builder.

        Raises:
            EngineError: something is there already.
            ContractMismatch: the existing index has another contract.
        """
        if not isinstance(contract, Contract):
            raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")
        self.folder = locate(path)
        self.contract = contract
        self.options = read_options(FaissOptions, options)
        self._progress = progress
        self._resume = resume
        self._done = 0
        self._index: BinaryIndex | None = None
        self.plan: Plan | None = None
        """How the rows were arranged, once ``finish`` has done so."""
        if not self._open():
            require_vacant(self.folder)

    def add(self, records: Iterable[Record], vectors: ArrayLike | Iterable[ArrayLike]) -> int:
        """Store records with their vectors, replacing those with the same id; return how many were stored.

        Args:
            records: any iterable, read in step with the vectors.
            vectors: as for ``add_vectors``.

        Raises:
            InvalidVectors: not one for each record.
            InvalidRecord, InvalidInput: something that cannot be stored; the batches before it are.
        """
        return self._ingest_given(records, read_blocks(vectors))

    def add_texts(self, records: Iterable[Record], encoder: Encoder) -> int:
        """Encode records as documents and store them; return how many. Those stored unchanged are skipped.

        Raises:
            ContractMismatch: the encoder has another contract.
        """
        self.contract.check(encoder.contract, ours="the index")
        index = self._opened(keeps_vectors=True)
        index.encoder = encoder  # remembered in the manifest, so that searches need not be told
        return self._ingest(index, records)

    def add_vectors(self, vectors: ArrayLike | Iterable[ArrayLike], ids: Iterable[str] | None = None) -> int:
        """Store vectors without texts; return how many.

        Args:
            vectors: floats (n, dimension), or packed bits (n, dimension / 8) as uint8: an array, a memory map, or an
                iterable of rows or such blocks. Packed bits are all that is kept then, and what rescoring uses.
            ids: one for each vector; by default the number of what this builder was given before it. So a build that
                resumes is given everything again, and replaces what is stored.

        Raises:
            InvalidVectors: not one for each id.
            InvalidInput: other vectors than before, or something that cannot be stored; the batches before it are.
        """
        blocks = read_blocks(vectors)
        if ids is not None:
            return self._ingest_given(map(Record, ids), blocks)
        numbers = count(self._done)
        return self._ingest_given(*unzip(([Record(str(next(numbers))) for _ in block], block) for block in blocks))

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
        pairs = read_parquet(path, vector, id, text, _PARQUET)
        if id is None:
            first = self._done
            pairs = (([replace(r, id=str(first + int(r.id))) for r in records], block) for records, block in pairs)
        return self._ingest_given(*unzip(pairs))

    def add_faiss(
        self,
        source: Source,
        *,
        ids: Iterable[str] | None = None,
        records: Iterable[Record] | None = None,
        bit_order: BitOrder = "msb",
    ) -> int:
        """Store the vectors of a FAISS index, batch by batch; return how many.

        Args:
            source: as for ``BinaryIndex.import_faiss``: a path, whose file is mapped, or an index object.
            ids: one for each vector, in the order of the FAISS index; by default its own, else as by ``add_vectors``.
            records: the same with texts and metadata.
            bit_order: as for ``BinaryIndex.import_faiss``.

        Raises:
            InvalidInput, InvalidVectors: something in the FAISS index that cannot be stored: nothing of it is. Or not
                one id for each vector, or one twice; the batches before it are stored.
        """
        foreign = ForeignIndex(source, self.contract.dimension, bit_order)
        return self._ingest_given(*unzip(foreign.batches(ids, records, self._done)))

    def finish(self) -> BinaryIndex:
        """Optimize the index for the number of its records, and return it.

        Raises:
            EngineError: no space; what was stored stays, and finish can be called again.
        """
        index = self._opened(keeps_vectors=True)
        self.plan = index.optimize(self._progress)
        self._index = None
        return index

    def close(self) -> None:
        """Release the index; what was stored stays, and another builder can resume. Idempotent."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ingest_given(self, records: Iterable[Record], blocks: Iterator[NDArray[Any]]) -> int:
        first = next(blocks, None)
        packed = first is not None and first.dtype == np.uint8
        index = self._opened(keeps_vectors=not packed)
        given = chain([] if first is None else [first], blocks)
        return self._ingest(index, records, given, _PACKED if packed else None)

    def _ingest(
        self,
        index: BinaryIndex,
        records: Iterable[Record],
        vectors: Iterable[NDArray[Any]] | None = None,
        batch_size: int | None = None,
    ) -> int:
        before = self._done

        def advance(event: Progress) -> None:
            self._done = before + event.done
            if self._progress is not None:
                self._progress(replace(event, done=self._done, embedded=before + event.embedded))

        return index.ingest(records, vectors, batch_size=batch_size, progress=advance).stored

    def _open(self) -> BinaryIndex | None:
        """Return the index that is to be resumed, if there is one."""
        if self._index is None and self._resume and has_index(self.folder):
            self._index = BinaryIndex.open(self.folder, contract=self.contract, options=self.options)
        return self._index

    def _opened(self, *, keeps_vectors: bool) -> BinaryIndex:
        if self._index is None and self.plan is not None:
            raise EngineError(f"the build of {self.folder} is finished; add to the index itself")
        if self._open() is None:
            kind = self.options.vectors if self.options.vectors != "auto" else "int8" if keeps_vectors else "none"
            options = replace(self.options, vectors=kind)
            self._index = BinaryIndex.create(self.folder, self.contract, options=options)
        assert self._index is not None, "it was opened or created"
        return self._index


def unzip(pairs: Iterable[tuple[list[Record], NDArray[Any]]]) -> tuple[Iterator[Record], Iterator[NDArray[Any]]]:
    """Return the records and the blocks of vectors of pairs, to be read in step: what one is ahead is kept."""
    unread = iter(pairs)
    records, blocks = deque[list[Record]](), deque[NDArray[Any]]()

    def read(own: deque[Item]) -> Iterator[Item]:
        while True:
            if not own:
                pair = next(unread, None)
                if pair is None:
                    return
                records.append(pair[0])
                blocks.append(pair[1])
            yield own.popleft()

    return chain.from_iterable(read(records)), read(blocks)


def read_parquet(
    path: str | os.PathLike[str], vector: str, id: str | None, text: str | None, rows: int
) -> Iterator[tuple[list[Record], NDArray[Any]]]:
    """Yield at most ``rows`` records and their vectors at a time; every other column is metadata.

    Raises:
        InvalidInput: the file cannot be read, or has no such column.
        InvalidRecord, InvalidVectors: a row that cannot be stored.
        MissingExtra: pyarrow is not installed.
    """
    number = 0
    with ParquetFile(os.fspath(path), os.fspath(path)) as file:
        file.require_columns(vector, id, text)
        for values, vectors in file.batches(vector, rows):
            assert vectors is not None, "a column of vectors was asked for"
            yield [_record(value, number + row, id, text) for row, value in enumerate(values)], vectors
            number += len(values)


def _record(row: dict[str, Any], number: int, id: str | None, text: str | None) -> Record:
    try:
        values = plain_row(row)
    except InvalidRecord as error:
        raise InvalidRecord(f"row {number}: {error}") from error
    given = number if id is None else values.pop(id)
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise InvalidRecord(f"row {number}: the id must be a string or a whole number, not {brief(given)}")
    return Record(str(given), "" if text is None else values.pop(text), values)
