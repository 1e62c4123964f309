"""BinaryIndex: the engine over one folder."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Self

import numpy as np

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine
from jinavec.errors import EngineError, IndexDamaged, IndexLocked, InvalidInput, InvalidType
from jinavec.filters import Filter
from jinavec.options import plain
from jinavec.records import Hit, Record
from jinavec.vectors import Bits, Float32, binarize, normalize, to_int8
from jinavec_integrations.faiss import manifest, records
from jinavec_integrations.faiss.faults import reported
from jinavec_integrations.faiss.filters import Mask, select
from jinavec_integrations.faiss.folder import build, file_sizes, has_index, locate, require_index
from jinavec_integrations.faiss.hamming import nearest
from jinavec_integrations.faiss.lock import WriterLock
from jinavec_integrations.faiss.manifest import Manifest
from jinavec_integrations.faiss.records import Readers, Snapshot, Writer
from jinavec_integrations.faiss.rescore import cosines
from jinavec_integrations.faiss.rowfile import CodeFile, Rows, VectorFile, code_width

_BLOCK = 8192
"""Vectors quantised at a time."""
_WHOLE = 2**22
"""Up to so many bytes of int8 vectors are scored without looking for candidates first: it takes a millisecond."""


class BinaryIndex(Engine):
    """Exact Hamming search over packed sign bits; the best candidates are rescored with int8 vectors on disk.

    An index is a folder. Many processes and threads may read it while one object writes. What ``add`` and ``delete``
    did is on the disk when they return; a process killed at any moment leaves all of a call or nothing.
    """

    def __init__(self, path: str | os.PathLike[str], encoder: Encoder | None = None) -> None:
        """Open the index at a path; ``BinaryIndex.open`` also compares contracts."""
        self.folder = locate(path)
        self.encoder = encoder
        self._writer: Writer | None = None
        self._writing = threading.RLock()
        self._alive = np.empty(0, np.bool_), 0  # which rows still have their records, as of so many deletions
        resources = ExitStack()
        self._resources = resources
        self._finalizer = weakref.finalize(self, resources.close)  # also where nobody closes the index
        with reported(self.folder):
            require_index(self.folder)
            contents = Manifest.read(self.folder)
            self.contract, self.settings = contents.contract, contents.settings
            self._codes = CodeFile(self.folder, code_width(self.contract.dimension))
            self._vectors = VectorFile(self.folder, self.contract.dimension)
            self._readers = resources.enter_context(closing(Readers(self.folder)))
            self._check_files()

    @classmethod
    def create(cls, path: str | os.PathLike[str], contract: Contract, *, encoder: Encoder | None = None) -> Self:
        """Make an index in a new or empty folder, and open it.

        Args:
            path: the folder.
            contract: what every vector in the index is made under.
            encoder: embeds texts for ``add`` and ``search``.

        Raises:
            ContractMismatch: the encoder has another contract.
            EngineError: something is there already, or it cannot be written.
        """
        if not isinstance(contract, Contract):
            raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")
        _check_encoder(contract, encoder, ours="the contract")
        folder = locate(path)
        with reported(folder, "no index was made"):
            build(folder, Manifest(contract, None if encoder is None else encoder.settings))
        return cls(folder, encoder)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Encoder | None = None,
        contract: Contract | None = None,
    ) -> Self:
        """Open an index; the work does not grow with its size.

        Args:
            path: the folder.
            encoder: embeds texts for ``add`` and ``search``; it must have the contract of the index.
            contract: the contract that is expected.

        Raises:
            IndexNotFound: nothing is there.
            IndexDamaged: it is no index, or not a whole one; the message names the file.
            ContractMismatch: the index has another contract; each difference is named.
        """
        index = cls(path, encoder)
        try:
            _check_encoder(index.contract, encoder)
            if contract is not None:
                index.contract.check(contract, theirs="the contract")
        except BaseException:
            index.close()
            raise
        return index

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open ``faiss:DIR``; create it if there is a contract and nothing there."""
        if given := plain(options):
            raise InvalidInput(f"the faiss engine has no option {next(iter(given))!r}: it has none")
        if contract is not None and not has_index(locate(location)):
            try:
                return cls.create(location, contract, encoder=encoder)
            except EngineError:
                if not has_index(locate(location)):
                    raise  # else someone else was quicker
        return cls.open(location, encoder=encoder, contract=contract)

    def count(self) -> int:
        """Return the number of records."""
        with self._read() as snapshot:
            return snapshot.count

    def ids(self) -> list[str]:
        """Return the ids of all records, the oldest first."""
        with self._read() as snapshot:
            return snapshot.ids()

    def vectors(self, ids: Iterable[str]) -> dict[str, Float32]:
        """Return the stored vector (dimension,) of each id that exists: unit length, as exact as int8 keeps it."""
        with self._read() as snapshot:
            stored = self._vectors.rows(snapshot.rows)
            return {id: normalize(stored[row]) for id, row in snapshot.rows_by_id(ids).items()}

    def info(self) -> dict[str, Any]:
        """Return path, format, counts, bytes by file, contract and encoder settings, as plain JSON values."""
        with self._read() as snapshot:
            return {
                "engine": "faiss",
                "path": str(self.folder),
                "format": manifest.VERSION,
                "records": snapshot.count,
                "rows": snapshot.rows,
                "deleted": snapshot.deleted,
                "bytes": file_sizes(self.folder),
                "contract": self.contract.to_json(),
                "encoder": None if self.settings is None else self.settings.to_json(),
            }

    def close(self) -> None:
        """Let go of the files, and of the right to write; closing twice is allowed."""
        with self._writing:
            self._finalizer()
            self._codes.close()
            self._vectors.close()

    def __repr__(self) -> str:
        return f"BinaryIndex({str(self.folder)!r}, dimension={self.contract.dimension})"

    def _add(self, records: list[Record], vectors: Float32) -> None:
        entries = [(record.id, record.metadata_json(), record.text) for record in records]
        with self._write() as writer:
            self._remember_settings()
            start = writer.rows
            blocks = [vectors[first : first + _BLOCK] for first in range(0, len(vectors), _BLOCK)]
            self._codes.append(start, map(_pack, blocks))
            self._vectors.append(start, map(to_int8, blocks))
            writer.add(entries)

    def _delete(self, ids: list[str]) -> int:
        with self._write() as writer:
            return writer.delete(ids)

    def _get(self, ids: list[str]) -> list[Record]:
        with self._read() as snapshot:
            return snapshot.by_id(ids)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        with self._read() as snapshot:
            rows = self._candidates(snapshot, query, k, self._passing(snapshot, condition))
            scores = cosines(query, self._vectors, snapshot.rows, rows)
            best = np.lexsort((rows, -scores))[:k]  # of equal scores, the older record
            found = snapshot.by_row(rows[best].tolist())
            return [Hit(record, score) for record, score in zip(found, scores[best].tolist(), strict=True)]

    def _passing(self, snapshot: Snapshot, condition: Filter | None) -> Mask | None:
        """Return the rows a search may find; None stands for all of them."""
        alive = self._alive_rows(snapshot)
        if condition is None:
            return alive
        passing = select(condition, snapshot.rows, snapshot.find)
        return passing if alive is None else passing & alive

    def _alive_rows(self, snapshot: Snapshot) -> Mask | None:
        if not snapshot.deleted:
            return None
        alive, deleted = self._alive
        if len(alive) > snapshot.rows or deleted > snapshot.deleted:  # another thread has looked at a later moment
            alive, deleted = alive[:0], 0
        if (len(alive), deleted) != (snapshot.rows, snapshot.deleted):
            alive = np.append(alive, np.ones(snapshot.rows - len(alive), np.bool_))
            alive[snapshot.dead(deleted)] = False
            self._alive = alive, snapshot.deleted
        return alive

    def _candidates(self, snapshot: Snapshot, query: Float32, k: int, passing: Mask | None) -> Rows:
        """Return the rows to rescore, ascending."""
        count = snapshot.rows if passing is None else int(np.count_nonzero(passing))
        wanted = _candidate_count(min(k, count), self.contract.dimension, count)
        if max(wanted, _WHOLE // self.contract.dimension) >= count:
            return np.arange(count) if passing is None else np.flatnonzero(passing)
        return np.sort(nearest(_pack(query), self._codes.rows(snapshot.rows), wanted, passing))

    @contextmanager
    def _read(self) -> Generator[Snapshot]:
        self._check_open()
        with reported(self.folder), self._readers.snapshot() as snapshot:
            yield snapshot

    @contextmanager
    def _write(self) -> Generator[Writer]:
        """Write under the lock: everything inside becomes true at once when SQLite commits, or nothing on an error."""
        with self._writing, reported(self.folder, "nothing of this call was stored"):
            self._check_open()
            writer = self._writer or self._start_writing()
            if writer.process != os.getpid():
                raise IndexLocked(f"{self.folder} is being written by the process that this one was forked from")
            try:
                with writer.transaction():
                    yield writer
            except BaseException:
                with suppress(OSError, sqlite3.Error):
                    self._drop_leftovers(writer)
                raise

    def _start_writing(self) -> Writer:
        with ExitStack() as stack:
            stack.enter_context(WriterLock(self.folder))
            writer = stack.enter_context(closing(Writer(self.folder)))
            self._drop_leftovers(writer)
            self._resources.enter_context(stack.pop_all())
        self._writer = writer
        return writer

    def _drop_leftovers(self, writer: Writer) -> None:
        """Cut off the rows of an addition that did not come to its end; nobody has seen them."""
        self._codes.truncate(writer.rows)
        self._vectors.truncate(writer.rows)

    def _remember_settings(self) -> None:
        used = None if self.encoder is None else self.encoder.settings
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            Manifest(self.contract, used).write(self.folder)
            self.settings = used

    def _check_files(self) -> None:
        if not (self.folder / records.NAME).is_file():
            raise IndexDamaged(f"{self.folder / records.NAME} is missing")
        with self._readers.snapshot() as snapshot:
            self._codes.check(snapshot.rows)
            self._vectors.check(snapshot.rows)

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise EngineError(f"the index {self.folder} is closed; open it again")


def _candidate_count(k: int, dimension: int, count: int) -> int:
    """Return how many rows to rescore for the best k of ``count``.

    Forty for each result at 1024 bits, and at least 400; more where the bits say less about the order: in inverse
    proportion to the dimension, and with the cube root of the millions. Of synthetic clusters as hard as texts (100,000
    vectors) this finds .996, .992 and .951 of the exact best 10 at 1024, 256 and 64 dimensions.
    """
    wanted = max(400, 40 * k) * max(1, 1024 / dimension) * max(1, count / 1e6) ** (1 / 3)
    return min(int(wanted), count)


def _pack(vectors: Float32) -> Bits:
    """Pack sign bits, in whole bytes: missing dimensions count as zeros."""
    missing = -vectors.shape[-1] % 8
    return binarize(np.pad(vectors, [(0, 0)] * (vectors.ndim - 1) + [(0, missing)]) if missing else vectors)


def _check_encoder(contract: Contract, encoder: Encoder | None, ours: str = "this index") -> None:
    if encoder is not None:
        contract.check(encoder.contract, ours=ours)
