"""BinaryIndex: the engine over one folder."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine, Precision, check_ids, check_k
from jinavec.errors import EngineError, IndexDamaged, IndexLocked, InvalidInput, InvalidType, InvalidVectors, brief
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.ingest import Progress, ReportProgress, Vectors
from jinavec.options import read_options
from jinavec.process import cores
from jinavec.records import Hit, Page, Record
from jinavec.vectors import Bits, Float32, Int8, normalize, to_int8
from jinavec_integrations.faiss import manifest as manifests
from jinavec_integrations.faiss import records
from jinavec_integrations.faiss.calibrate import Calibration, calibrate, held_out
from jinavec_integrations.faiss.faults import reported
from jinavec_integrations.faiss.filters import Mask, select
from jinavec_integrations.faiss.folder import build, file_sizes, has_index, locate, require_index
from jinavec_integrations.faiss.generations import remove_others
from jinavec_integrations.faiss.hamming import within
from jinavec_integrations.faiss.iteration import iterate, read_cursor
from jinavec_integrations.faiss.layout import Layout
from jinavec_integrations.faiss.lock import WriterLock
from jinavec_integrations.faiss.manifest import Manifest, read_manifest
from jinavec_integrations.faiss.options import FaissOptions
from jinavec_integrations.faiss.plan import Effort, Plan, chosen_effort, default_effort, make_plan
from jinavec_integrations.faiss.records import Readers, Snapshot, Writer
from jinavec_integrations.faiss.rowfile import Rows, code_width
from jinavec_integrations.faiss.search import View, best, best_of_batch, pack, passing_places
from jinavec_integrations.faiss.settle import finish_compaction, settle
from jinavec_integrations.faiss.verify import require_sound

_EMBEDDED = 1024
"""Records of a batch of an ingest that embeds them."""
_GIVEN = 16_384
"""Records of a batch of an ingest whose vectors are given; fewer where they are wide."""
_BLOCK = 8192
"""Records merged or deleted at a time."""
_VALUES = 2**21
"""Components quantized at a time."""
_UNLISTED = 0.1
"""The share of rows outside the lists from which it pays to compact."""
_ATTEMPTS = 10
"""Looks at an index that is being compacted again and again."""


class BinaryIndex(Engine):
    """Exact Hamming search over packed sign bits; the best candidates are rescored with int8 vectors on disk.

    An index is a folder. Many processes and threads may read it while one object writes. What ``add`` and ``delete``
    did is on the disk when they return; a process killed at any moment leaves all of a call or nothing.
    """

    name = "faiss"
    options_type = FaissOptions
    capabilities = frozenset({"packed_bits", "compact", "merge", "calibrate", "verify"})

    def __init__(
        self,
        path: str | os.PathLike[str],
        encoder: Encoder | None = None,
        options: FaissOptions | Mapping[str, Any] | None = None,
    ) -> None:
        """Open the index at a path; ``BinaryIndex.open`` also compares contracts."""
        self.folder = locate(path)
        self.encoder = encoder
        self.options = read_options(FaissOptions, options)
        self._writer: Writer | None = None
        self._writing = threading.RLock()
        self._alive = 0, np.empty(0, np.bool_), 0  # in a generation: the numbers with records, as of so many deletions
        resources = ExitStack()
        self._resources = resources
        self._finalizer = weakref.finalize(self, resources.close)  # also where nobody closes the index
        with reported(self.folder):
            require_index(self.folder)
            manifest = Manifest.read(self.folder)
            self.contract, self.settings = manifest.contract, manifest.settings
            self._layout: Layout | None = None
            self._readers = resources.enter_context(closing(Readers(self.folder)))
            self._check_files()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        contract: Contract,
        *,
        encoder: Encoder | None = None,
        options: FaissOptions | Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an index in a new or empty folder, and open it.

        Args:
            path: the folder.
            contract: what every vector in the index is made under.
            encoder: embeds texts for ``add`` and ``search``.
            options: what is not to be decided by size.

        Raises:
            ContractMismatch: the encoder has another contract.
            EngineError: something is there already, or it cannot be written.
        """
        if not isinstance(contract, Contract):
            raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")
        _check_encoder(contract, encoder, ours="the contract")
        folder, chosen = locate(path), read_options(FaissOptions, options)
        settings = None if encoder is None else encoder.settings
        with reported(folder, "no index was made"):
            build(folder, Manifest(contract, settings, keeps_vectors=chosen.vectors != "none"))
        index = cls(folder, encoder, chosen)
        index._created = True
        return index

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Encoder | None = None,
        contract: Contract | None = None,
        options: FaissOptions | Mapping[str, Any] | None = None,
    ) -> Self:
        """Open an index; the work does not grow with its size.

        Args:
            path: the folder.
            encoder: embeds texts for ``add`` and ``search``; it must have the contract of the index.
            contract: the contract that is expected.
            options: for the searches and compactions of this object.

        Raises:
            IndexNotFound: nothing is there.
            IndexDamaged: it is no index, or not a whole one; the message names the file.
            ContractMismatch: the index has another contract; each difference is named.
        """
        index = cls(path, encoder, options)
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
        chosen = read_options(FaissOptions, options)
        if contract is not None and not has_index(locate(location)):
            try:
                return cls.create(location, contract, encoder=encoder, options=chosen)
            except EngineError:
                if not has_index(locate(location)):
                    raise  # else lost the race: created concurrently
        return cls.open(location, encoder=encoder, contract=contract, options=chosen)

    def count(self) -> int:
        """Return the number of records."""
        with self._read() as snapshot:
            return snapshot.count

    def ids(self) -> list[str]:
        """Return the ids of all records, the oldest first."""
        with self._read() as snapshot:
            return snapshot.ids()

    def vectors(self, ids: str | Iterable[str]) -> dict[str, Float32]:
        """Return the stored vector (dimension,) of each id that exists: unit length, as exact as int8 keeps it.

        Of an index that keeps no int8 vectors, it is the direction of the bits.
        """
        asked = check_ids(ids)
        with self._look() as (snapshot, layout):
            known = snapshot.rows_by_id(asked)
            stored = layout.vectors_of(np.fromiter(known.values(), np.int64, len(known)))
            return dict(zip(known, stored, strict=True))

    @property
    def vector_precision(self) -> Precision:
        """int8, or bits where the index keeps nothing else."""
        with self._look() as (_, layout):
            return "bits" if layout.vectors is None else "int8"

    def info(self) -> dict[str, Any]:
        """Return path, format, counts, bytes by file, contract and encoder settings, as plain JSON values."""
        with self._look() as (snapshot, layout):
            effort = self._effort(View(layout, snapshot.places, snapshot.count, None))
            return {
                "engine": "faiss",
                "path": str(self.folder),
                "format": manifests.VERSION,
                "records": snapshot.count,
                "rows": snapshot.places,
                "deleted": snapshot.deleted,
                "plan": str(layout.manifest.plan),
                "unlisted": snapshot.places - layout.manifest.settled if layout.lists else 0,
                "vectors": "none" if layout.vectors is None else "int8",
                "search": asdict(effort) | {"calibrated": layout.manifest.effort is not None},
                "bytes": file_sizes(self.folder, snapshot.generation),
                "contract": self.contract.to_json(),
                "encoder": None if self.settings is None else self.settings.to_json(),
            }

    def range_search(
        self, query: str | ArrayLike, radius: int, filter: FilterDict | None = None
    ) -> list[tuple[Record, int]]:
        """Return all records whose bits differ from a query's in at most ``radius`` places, nearest first.

        Near-duplicates: ``index.range_search(index.reconstruct([id])[0], radius)``.

        Args:
            query: a vector (dimension,), packed bits (bytes,) as uint8, or a text if there is an encoder.
            radius: a Hamming distance, in bits.
            filter: a filter on the metadata.

        Returns:
            (record, distance) of each; of equal distances, the older record first.
        """
        if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or radius < 0:
            raise InvalidInput(f"radius must be a whole number of bits, at least 0, not {brief(radius)}")
        condition = None if filter is None else parse_filter(filter)
        bits = self._query_bits(query)
        with self._look() as (snapshot, layout):
            view = self._view(snapshot, layout, condition)
            distances, places = within(bits, layout.codes.rows(snapshot.places), int(radius))
            if (passing := passing_places(view)) is not None:
                distances, places = distances[passing[places]], places[passing[places]]
            numbers = layout.numbers_at(places)
            sequence = np.lexsort((numbers, distances))
            found = snapshot.by_row(numbers[sequence].tolist())
            return list(zip(found, distances[sequence].tolist(), strict=True))

    def reconstruct(self, ids: str | Iterable[str]) -> Bits:
        """Return the packed bits (n, bytes) of records, in the order of their ids; of one id, one row (bytes,).

        Raises:
            InvalidInput: an id that is not there.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        with self._look() as (snapshot, layout):
            places = layout.places_of(snapshot.numbers_of(wanted))
            bits = np.array(layout.codes.rows(snapshot.places)[places])
        return bits[0] if isinstance(ids, str) else bits

    def merge(self, other: Engine, progress: ReportProgress | None = None) -> int:
        """Add everything another binary index of the same contract holds, replacing records with the same id.

        Bits and int8 vectors are copied as they are. Each batch is atomic: after an interruption, merge again.

        Args:
            other: a BinaryIndex.
            progress: called with each batch that is stored.

        Returns:
            The number of records copied.

        Raises:
            InvalidType: the other index is of another engine.
            ContractMismatch: it has another contract.
            EngineError: it keeps no int8 copies, and this one does; or it is this one.
        """
        if not isinstance(other, BinaryIndex):
            raise InvalidType(f"a binary index merges another BinaryIndex, not {type(other).__name__}")
        self.contract.check(other.contract, theirs="the other index")
        if other.folder.resolve() == self.folder.resolve():
            raise EngineError(f"{self.folder} cannot be merged into itself")
        with other._look() as (snapshot, layout):
            keeps = self._opened_layout.vectors is not None
            if keeps and layout.vectors is None:
                raise EngineError(
                    f"{other.folder} keeps no int8 vectors, {self.folder} does: merge the other way round"
                )
            numbers = np.flatnonzero(other._alive_rows(snapshot, layout))
            for start in range(0, len(numbers), _BLOCK):
                part = numbers[start : start + _BLOCK]
                places = layout.places_of(part)
                vectors = [] if layout.vectors is None or not keeps else [layout.vectors.gather(places)]
                self._append(snapshot.by_row(part.tolist()), [layout.codes.gather(places)], vectors)
                if progress is not None:
                    progress(Progress("merging", start + len(part), len(numbers)))
        return len(numbers)

    def calibrate(
        self, target_recall: float = 0.95, queries: ArrayLike | None = None, *, k: int = 10, sample: int = 200
    ) -> Calibration:
        """Find the least effort that finds a share of what an exact search finds, and store it in the index.

        Args:
            target_recall: the share, above 0 and up to 1.
            queries: (n, dimension) queries that are not in the index; without them, stored vectors with noise.
            k: the results that count.
            sample: the number of queries made where none are given.

        Returns:
            The effort, and the recall it reaches; where nothing reaches the target, the most that can be done.

        Raises:
            InvalidInput: a target out of reach by definition, or an index without records.
        """
        if not 0 < target_recall <= 1:
            raise InvalidInput(f"target_recall must be above 0 and at most 1, not {brief(target_recall)}")
        with self._look() as (snapshot, layout):
            view = self._view(snapshot, layout, None)
            if not view.count:
                raise InvalidInput(f"{self.folder} holds no records to calibrate with")
            given = held_out(view, sample, self.options.seed) if queries is None else normalize(queries)
            if given.ndim != 2 or given.shape[1] != self.contract.dimension or not len(given):
                raise InvalidVectors(f"queries have the shape {given.shape}; expected (n, {self.contract.dimension})")
            default = default_effort(view.places, self.contract.dimension, layout.manifest.plan.lists)
            found = calibrate(view, given, check_k(k), target_recall, default)
        with self._write():
            self._change_manifest(effort=found.effort)
        return found

    def verify(self) -> None:
        """Read every byte and compare it with the checksums made when it was written.

        Raises:
            IndexDamaged: what is wrong.
        """
        with self._look() as (snapshot, layout):
            require_sound(self.folder, layout, snapshot)

    def close(self) -> None:
        """Release files and the writer lock. Idempotent."""
        with self._writing:
            self._finalizer()
            if self._layout is not None:
                self._layout.close()

    def __repr__(self) -> str:
        return f"BinaryIndex({str(self.folder)!r}, dimension={self.contract.dimension})"

    def compact(self, progress: ReportProgress | None = None) -> Plan:
        """Write the row files anew: without dead rows, in the order of the plan for what is left. Return the plan.

        Readers go on meanwhile; killed at any moment, the index is as before or as after.

        Args:
            progress: called as the rows of each phase are done.

        Raises:
            IndexLocked: another process or object writes.
            EngineError: no space; nothing has changed.
        """
        with self._write() as writer:
            with self._look() as (snapshot, layout):
                plan = make_plan(snapshot.count, self.options, layout.manifest.plan)
                writer.shrink()
                try:
                    alive = self._alive_rows(snapshot, layout)
                    manifest = settle(self.folder, layout, alive, plan, progress or _silent)
                    manifest.write(self.folder, manifests.DRAFT)
                except BaseException:
                    with suppress(OSError):
                        remove_others(self.folder, layout.manifest.generation)
                    raise
            writer.settle(manifest.generation, manifest.gone)
        with self._writing, reported(self.folder):
            self._layout = Layout.open(self.folder, finish_compaction(self.folder, manifest.generation))
        return plan

    def optimize(self, progress: ReportProgress | None = None) -> Plan:
        """Compact by the plan for the number of records, if that pays: after much has been added. Return the plan."""
        with self._look() as (snapshot, layout):
            before = layout.manifest.plan
            plan = make_plan(snapshot.count, self.options, before)
            unlisted = snapshot.places - layout.manifest.settled
        if plan.lists == before.lists and (not plan.lists or unlisted <= _UNLISTED * snapshot.places):
            return before
        return self.compact(progress)

    def _batch_hint(self, *, embeds: bool) -> int:
        return _EMBEDDED if embeds else min(_GIVEN, max(1, _VALUES // self.contract.dimension))

    def _begin(self) -> None:
        with self._write():
            self.contract.check(self._opened_layout.manifest.contract, theirs="the index on disk")
            self._remember_settings()

    def _unchanged(self, records: list[Record]) -> Mapping[str, bool]:
        with self._read() as snapshot:
            return snapshot.unchanged(records)

    def _store(self, records: list[Record], vectors: Vectors) -> Mapping[str, str]:
        if vectors.dtype == np.uint8:
            if self._opened_layout.vectors is not None:
                raise InvalidInput(f"{self.folder} keeps int8 vectors: add floats, or create it with vectors='none'")
            self._append(records, [vectors], [])
        else:
            step = max(1, _VALUES // vectors.shape[1])
            blocks = [vectors[first : first + step] for first in range(0, len(vectors), step)]
            self._append(records, map(pack, blocks), map(to_int8, blocks))
        return {}

    def _append(self, records: Sequence[Record], codes: Iterable[Bits], vectors: Iterable[Int8]) -> None:
        """Store records with their bits and int8 copies, which may be read and made while they are written."""
        entries = [(record.id, record.metadata_json(), record.text) for record in records]
        with self._write() as writer:
            start, layout = writer.places, self._opened_layout
            code_crc = layout.codes.append(start, codes)
            vector_crc = 0 if layout.vectors is None else layout.vectors.append(start, vectors)
            writer.add(entries, code_crc, vector_crc)

    def _delete(self, ids: list[str]) -> int:
        with self._write() as writer:
            return writer.delete(ids)

    def _delete_where(self, condition: Filter) -> int:
        with self._write() as writer, self._read() as snapshot:
            matching = np.flatnonzero(select(condition, snapshot.rows, snapshot.find)).tolist()
            parts = (matching[start : start + _BLOCK] for start in range(0, len(matching), _BLOCK))
            return sum(map(writer.delete_rows, parts))

    def _get(self, ids: list[str]) -> list[Record]:
        with self._read() as snapshot:
            return snapshot.by_id(ids)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        with self._look() as (snapshot, layout):
            view = self._view(snapshot, layout, condition)
            numbers, scores = best(view, query, k, self._effort(view), threads=cores())
            return _hits(snapshot, numbers, scores)

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        """Search on all cores, in one snapshot of the index."""
        with self._look() as (snapshot, layout):
            view = self._view(snapshot, layout, condition)
            found = best_of_batch(view, queries, k, self._effort(view))
            return [_hits(snapshot, numbers, scores) for numbers, scores in found]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        start = 0 if after is None else read_cursor(after)
        return iterate(self._look, batch_size, vectors=vectors, condition=condition, start=start)

    def _query_bits(self, query: str | ArrayLike) -> Bits:
        if isinstance(query, str):
            return pack(self._need_encoder("a query vector").encode_queries([query])[0])
        given = np.asarray(query)
        if given.dtype != np.uint8:
            return pack(self._check_query(query))
        if given.shape != (code_width(self.contract.dimension),):
            expected = (code_width(self.contract.dimension),)
            raise InvalidVectors(f"the packed query has the shape {given.shape}; expected {expected}")
        return np.ascontiguousarray(given)

    def _view(self, snapshot: Snapshot, layout: Layout, condition: Filter | None) -> View:
        """Return what a search may find."""
        if condition is None:
            passing = self._alive_rows(snapshot, layout) if snapshot.deleted else None
            return View(layout, snapshot.places, snapshot.count, passing)
        passing = select(condition, snapshot.rows, snapshot.find)
        if snapshot.deleted or snapshot.gone:
            passing &= self._alive_rows(snapshot, layout)
        return View(layout, snapshot.places, int(np.count_nonzero(passing)), passing)

    def _alive_rows(self, snapshot: Snapshot, layout: Layout) -> Mask:
        """Return which row numbers have a record."""
        generation, alive, deleted = self._alive
        if generation != snapshot.generation or len(alive) > snapshot.rows or deleted > snapshot.deleted:
            alive, deleted = layout.existing(min(len(layout.places), snapshot.rows)), 0
        if (generation, len(alive), deleted) != (snapshot.generation, snapshot.rows, snapshot.deleted):
            alive = np.append(alive, np.ones(snapshot.rows - len(alive), np.bool_))
            alive[snapshot.dead(deleted)] = False
            self._alive = snapshot.generation, alive, snapshot.deleted
        return alive

    def _effort(self, view: View) -> Effort:
        manifest = view.layout.manifest
        default = default_effort(view.places, self.contract.dimension, manifest.plan.lists)
        return chosen_effort(manifest.effort, default, self.options)

    @contextmanager
    def _look(self) -> Generator[tuple[Snapshot, Layout]]:
        """Look at one moment of the index; when a compaction has just ended, at its files."""
        for attempt in range(_ATTEMPTS):
            with self._read() as snapshot:
                layout = self._layout_of(snapshot, last=attempt == _ATTEMPTS - 1)
                if layout is not None:
                    yield snapshot, layout
                    return

    def _layout_of(self, snapshot: Snapshot, *, last: bool) -> Layout | None:
        """Return the layout of a snapshot's generation; None where a compaction has removed it meanwhile."""
        layout = self._layout  # read once: another thread may replace it
        try:
            known = None if layout is None else (layout.manifest.generation, layout.manifest.id)
            if layout is None or known != (snapshot.generation, snapshot.id):
                layout = Layout.open(self.folder, read_manifest(self.folder, snapshot.generation))
                if layout.manifest.id != snapshot.id:
                    raise IndexDamaged(f"{self.folder} is damaged: records.sqlite is another index's")
                if layout.manifest.gone != snapshot.gone:
                    raise IndexDamaged(f"{self.folder} is damaged: its manifest and records.sqlite count differently")
                layout.check(snapshot.places)
                self._layout = layout
            layout.map(snapshot.places)
        except (IndexDamaged, FileNotFoundError):
            if last:
                raise
            return None
        return layout

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
            if self._opened_layout.manifest.generation != writer.generation:  # a reading thread has set an older one
                self._layout = Layout.open(self.folder, finish_compaction(self.folder, writer.generation))
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
            self._layout = Layout.open(self.folder, finish_compaction(self.folder, writer.generation))
            self._drop_leftovers(writer)
            self._resources.enter_context(stack.pop_all())
        self._writer = writer
        return writer

    def _drop_leftovers(self, writer: Writer) -> None:
        """Cut off the rows of an addition that did not come to its end; nobody has seen them."""
        layout = self._opened_layout
        layout.codes.truncate(writer.places)
        if layout.vectors is not None:
            layout.vectors.truncate(writer.places)

    @property
    def _opened_layout(self) -> Layout:
        assert self._layout is not None, "opening an index opens its layout"
        return self._layout

    def _remember_settings(self) -> None:
        used = None if self.encoder is None else self.encoder.settings
        if used is not None and (self.settings is None or used.to_json() != self.settings.to_json()):
            self._change_manifest(settings=used)
            self.settings = used

    def _change_manifest(self, **changes: Any) -> None:
        manifest = replace(self._opened_layout.manifest, **changes)
        manifest.write(self.folder)
        self._layout = replace(self._opened_layout, manifest=manifest)

    def _check_files(self) -> None:
        if not (self.folder / records.NAME).is_file():
            raise IndexDamaged(f"{self.folder / records.NAME} is missing")
        with self._look() as (snapshot, layout):
            layout.check(snapshot.places)

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise EngineError(f"the index {self.folder} is closed; open it again")


def _hits(snapshot: Snapshot, numbers: Rows, scores: Float32) -> list[Hit]:
    found = snapshot.by_row(numbers.tolist())
    return [Hit(record, score) for record, score in zip(found, scores.tolist(), strict=True)]


def _silent(_: Progress) -> None:
    pass


def _check_encoder(contract: Contract, encoder: Encoder | None, ours: str = "this index") -> None:
    if encoder is not None:
        contract.check(encoder.contract, ours=ours)
