"""BinaryIndex: the engine over one folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine, Precision, check_ids, check_k
from jinavec.errors import EngineError, InvalidInput, InvalidType, InvalidVectors, brief
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.ingest import Progress, ReportProgress, Vectors
from jinavec.options import read_options
from jinavec.records import Hit, Page, Record
from jinavec.vectors import Bits, Float32, normalize, to_int8
from jinavec_integrations.faiss.calibrate import Calibration, calibrate, held_out
from jinavec_integrations.faiss.compaction import compact
from jinavec_integrations.faiss.parameters import FaissOptions, Plan, SearchParameters, default_parameters, make_plan
from jinavec_integrations.faiss.search import kernel
from jinavec_integrations.faiss.search.foreign import BitOrder, ForeignIndex, Source
from jinavec_integrations.faiss.search.pipeline import best, search_range
from jinavec_integrations.faiss.search.view import View, pack
from jinavec_integrations.faiss.storage.create import created, drafted, has_index
from jinavec_integrations.faiss.storage.filters import select
from jinavec_integrations.faiss.storage.folder import locate
from jinavec_integrations.faiss.storage.iteration import iterate, read_cursor
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.storage.manifest import Manifest
from jinavec_integrations.faiss.storage.records import Snapshot
from jinavec_integrations.faiss.storage.store import Store
from jinavec_integrations.faiss.storage.verify import require_sound
from jinavec_integrations.faiss.types import DocIds

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


class BinaryIndex(Engine):
    """Exact Hamming search over packed sign bits; the best candidates are rescored with int8 vectors on disk.

    An index is a folder. Any number of processes, threads and objects may read and write it; writes take turns, and
    readers never wait. What ``add`` and ``delete`` did is on the disk when they return; a process killed at any moment
    leaves all of a call or nothing.
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
        self.encoder = encoder
        self.options = read_options(FaissOptions, options)
        self._disk = Store(locate(path), self.options.lock_timeout)
        self.folder = self._disk.path
        self.contract, self.settings = self._disk.manifest.contract, self._disk.manifest.settings

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
        _check_contract(contract)
        _check_encoder(contract, encoder, ours="the contract")
        folder, chosen = locate(path), read_options(FaissOptions, options)
        settings = None if encoder is None else encoder.settings
        manifest = Manifest(contract, settings, keeps_vectors=chosen.vectors != "none")
        with created(folder, manifest, chosen.lock_timeout):
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
    def import_faiss(
        cls,
        source: Source,
        path: str | os.PathLike[str],
        *,
        contract: Contract,
        ids: Iterable[str] | None = None,
        records: Iterable[Record] | None = None,
        bit_order: BitOrder = "msb",
        options: FaissOptions | Mapping[str, Any] | None = None,
        progress: ReportProgress | None = None,
    ) -> Self:
        """Make an index of what a FAISS index holds, and open it. The whole is moved to its path at the end.

        Args:
            source: the path of a FAISS file, or an index object: IndexBinaryFlat, IndexBinaryIVF or IndexBinaryHNSW,
                of which bits alone are kept; IndexFlatIP or IndexFlatL2; any of them also in an IDMap or IDMap2.
            path: a folder that is new or empty.
            contract: what the vectors were made under; FAISS does not know.
            ids: one for each vector: in the order of the FAISS index, of an IVF in the order of its ids. By default
                the ids of an IDMap or IVF, else positions.
            records: the same with texts and metadata.
            bit_order: which bit of a byte of a binary index is its first dimension, which FAISS does not know either:
                "msb" for the most significant one (numpy.packbits, sentence-transformers), "lsb" for the least
                significant one (faiss.fvec2bitvec). Hamming distances are right with a wrong one, other scores are not.
            options: as for ``create``.
            progress: called as batches are stored, and as by ``optimize``.

        Raises:
            InvalidInput: no such index, a damaged one, or an id twice; nothing is left.
            InvalidVectors: vectors of another width than the contract's, or without a direction.
            EngineError: something is there already, or it cannot be written.
        """
        _check_contract(contract)
        folder, chosen = locate(path), read_options(FaissOptions, options)
        foreign = ForeignIndex(source, contract.dimension, bit_order)
        if foreign.is_packed:
            if chosen.vectors == "int8":
                raise InvalidInput(f"{foreign.name} holds packed bits: no int8 vectors can be made of them")
            chosen = replace(chosen, vectors="none")
        done = 0
        with drafted(folder) as draft, cls.create(draft, contract, options=chosen) as index:
            for batch, vectors in foreign.batches(ids, records):
                done += index.add(batch, vectors)
                if progress is not None:
                    progress(Progress("ingest", done, len(foreign), done))
            index.optimize(progress)
        return cls.open(folder, options=options)

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
        with self._disk.snapshot() as snapshot:
            return snapshot.count

    def ids(self) -> list[str]:
        """Return the ids of all records, the oldest first."""
        with self._disk.snapshot() as snapshot:
            return snapshot.ids()

    def vectors(self, ids: str | Iterable[str]) -> dict[str, Float32]:
        """Return the stored vector (dimension,) of each id that exists: unit length, as exact as int8 keeps it.

        Of an index that keeps no int8 vectors, it is the direction of the bits.
        """
        is_table = isinstance(ids, Mapping)  # whose keys are as good here
        asked = check_ids(cast("Mapping[str, object]", ids).keys() if is_table else ids)
        with self._disk.read() as (snapshot, layout):
            known = snapshot.docids_by_id(asked)
            stored = layout.vectors_of(np.fromiter(known.values(), np.int64, len(known)))
            return dict(zip(known, stored, strict=True))

    @property
    def vector_precision(self) -> Precision:
        """int8, or bits where the index keeps nothing else."""
        with self._disk.read() as (_, layout):
            return "bits" if layout.vectors is None else "int8"

    def info(self) -> dict[str, Any]:
        """Return path, format, counts, bytes by file, contract and encoder settings, as plain JSON values."""
        with self._disk.read() as (snapshot, layout):
            manifest = layout.manifest
            return {
                "engine": "faiss",
                "path": str(self.folder),
                "format": manifest.version,
                "records": snapshot.count,
                "rows": snapshot.slots,
                "deleted": snapshot.deleted,
                "plan": str(manifest.plan),
                "unlisted": snapshot.slots - manifest.compacted if layout.has_lists else 0,
                "vectors": "none" if layout.vectors is None else "int8",
                "search": asdict(self._parameters(snapshot, layout))
                | {"calibrated": manifest.parameters is not None, "path": kernel.level()},
                "bytes": self._disk.file_sizes(),
                "contract": self.contract.to_json(),
                "encoder": None if manifest.settings is None else manifest.settings.to_json(),
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
        if isinstance(query, str):
            query = self._need_encoder("a query vector").encode_queries([query])[0]
        bits = pack(self._check_query(query))
        with self._disk.read() as (snapshot, layout):
            docids, distances = search_range(self._view(snapshot, layout, condition), bits, int(radius))
            return list(zip(snapshot.by_docid(docids.tolist()), distances.tolist(), strict=True))

    def reconstruct(self, ids: str | Iterable[str]) -> Bits:
        """Return the packed bits (n, bytes) of records, in the order of their ids; of one id, one row (bytes,).

        Raises:
            InvalidInput: an id that is not there.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        with self._disk.read() as (snapshot, layout):
            bits = layout.codes.gather(layout.slots_of(snapshot.docids_of(wanted)))
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
        keeps = self._disk.manifest.keeps_vectors
        with other._disk.read() as (snapshot, layout):
            if keeps and layout.vectors is None:
                raise EngineError(
                    f"{other.folder} keeps no int8 vectors, {self.folder} does: merge the other way round"
                )
            joined = self.contract.joined_by(other.contract)
            self._record(None if joined.precision == self.contract.precision else joined)
            docids = np.flatnonzero(other._disk.alive(snapshot, layout))
            for start in range(0, len(docids), _BLOCK):
                part = docids[start : start + _BLOCK]
                slots = layout.slots_of(part)
                vectors = [] if layout.vectors is None or not keeps else [layout.vectors.gather(slots)]
                self._disk.append(snapshot.by_docid(part.tolist()), [layout.codes.gather(slots)], vectors)
                if progress is not None:
                    progress(Progress("merging", start + len(part), len(docids)))
        return len(docids)

    def calibrate(
        self, target_recall: float = 0.95, queries: ArrayLike | None = None, *, k: int = 10, sample: int = 200
    ) -> Calibration:
        """Find the least parameters that find a share of what an exact search finds, and store them in the index.

        Args:
            target_recall: the share, above 0 and up to 1.
            queries: (n, dimension) queries that are not in the index; without them, stored vectors with noise.
            k: the results that count.
            sample: the number of queries made where none are given.

        Returns:
            The parameters, and the recall they reach; where nothing reaches the target, the most that can be done.

        Raises:
            InvalidInput: a target out of reach by definition, or an index without records.
        """
        if not 0 < target_recall <= 1:
            raise InvalidInput(f"target_recall must be above 0 and at most 1, not {brief(target_recall)}")
        if type(sample) is not int or sample < 1:
            raise InvalidInput(f"sample must be a whole number of at least 1, not {brief(sample)}")
        with self._disk.read() as (snapshot, layout):
            view = self._view(snapshot, layout, None)
            if not view.count:
                raise InvalidInput(f"{self.folder} holds no records to calibrate with")
            given = held_out(view, sample, self.options.seed) if queries is None else normalize(queries)
            if given.ndim != 2 or given.shape[1] != self.contract.dimension or not len(given):
                raise InvalidVectors(f"queries have the shape {given.shape}; expected (n, {self.contract.dimension})")
            default = default_parameters(view.slots, self.contract.dimension, layout.manifest.plan.nlist)
            found = calibrate(view, given, check_k(k), target_recall, default)
        self._disk.change_manifest(parameters=found.parameters)
        return found

    def verify(self) -> None:
        """Read every byte and compare it with the checksums made when it was written.

        Raises:
            IndexDamaged: what is wrong.
        """
        with self._disk.read() as (snapshot, layout):
            require_sound(self._disk.folder, layout, snapshot)

    def close(self) -> None:
        """Release files. Idempotent."""
        self._disk.close()

    def __repr__(self) -> str:
        return f"BinaryIndex({str(self.folder)!r}, dimension={self.contract.dimension})"

    def compact(self, progress: ReportProgress | None = None) -> Plan:
        """Write the row files anew: without deleted rows, in the order of the plan for what is left. Return the plan.

        Others go on reading and writing meanwhile; killed at any moment, the index is as before or as after.

        Args:
            progress: called as the rows of each phase are done.

        Raises:
            IndexLocked: another compaction is going on.
            EngineError: no space; nothing has changed.
        """
        return compact(self._disk, self.options, progress or _silent)

    def optimize(self, progress: ReportProgress | None = None) -> Plan:
        """Compact by the plan for the number of records, if that pays: after much has been added. Return the plan."""
        with self._disk.read() as (snapshot, layout):
            before = layout.manifest.plan
            plan = make_plan(snapshot.count, self.options, before)
            unlisted = snapshot.slots - layout.manifest.compacted
        if plan.nlist == before.nlist and (not plan.nlist or unlisted <= _UNLISTED * snapshot.slots):
            return before
        return self.compact(progress)

    def _batch_hint(self, *, embeds: bool) -> int:
        return _EMBEDDED if embeds else min(_GIVEN, max(1, _VALUES // self.contract.dimension))

    def _begin(self) -> None:
        used, known = None if self.encoder is None else self.encoder.settings, self.settings
        if used is not None and (known is None or used.to_json() != known.to_json()):
            self._disk.change_manifest(settings=used)
            self.settings = used
        self._record(self._joined())

    def _record(self, joined: Contract | None) -> None:
        """Remember that vectors of another precision are added."""
        if joined is not None:
            self._disk.change_manifest(contract=joined)
            self.contract = joined

    def _unchanged(self, records: list[Record]) -> Mapping[str, bool]:
        with self._disk.snapshot() as snapshot:
            return snapshot.unchanged(records)

    def _store(self, records: list[Record], vectors: Vectors) -> Mapping[str, str]:
        if vectors.dtype != np.uint8:
            step = max(1, _VALUES // vectors.shape[1])
            blocks = [vectors[first : first + step] for first in range(0, len(vectors), step)]
            self._disk.append(records, map(pack, blocks), map(to_int8, blocks))
        elif self._disk.manifest.keeps_vectors:
            raise InvalidInput(f"{self.folder} keeps int8 vectors: add floats, or create it with vectors='none'")
        else:
            self._disk.append(records, [vectors], [])
        return {}

    def _delete(self, ids: list[str]) -> int:
        with self._disk.write() as (transaction, _):
            return transaction.delete(ids)

    def _delete_where(self, condition: Filter) -> int:
        with self._disk.write() as (transaction, _), self._disk.snapshot() as snapshot:
            matching = np.flatnonzero(select(condition, snapshot.docids, snapshot.find)).tolist()
            parts = (matching[start : start + _BLOCK] for start in range(0, len(matching), _BLOCK))
            return sum(map(transaction.delete_docids, parts))

    def _get(self, ids: list[str]) -> list[Record]:
        with self._disk.snapshot() as snapshot:
            return snapshot.by_id(ids)

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        with self._disk.read() as (snapshot, layout):
            view = self._view(snapshot, layout, condition)
            return _hits(snapshot, *best(view, query[None], k, self._parameters(snapshot, layout))[0])

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        """Search on all cores, in one snapshot of the index."""
        with self._disk.read() as (snapshot, layout):
            view = self._view(snapshot, layout, condition)
            found = best(view, queries, k, self._parameters(snapshot, layout))
            return [_hits(snapshot, docids, scores) for docids, scores in found]

    def _search_ids(self, query: Float32, k: int, condition: Filter | None) -> list[tuple[str, float]]:
        with self._disk.read() as (snapshot, layout):
            view = self._view(snapshot, layout, condition)
            docids, scores = best(view, query[None], k, self._parameters(snapshot, layout))[0]
            return list(zip(snapshot.ids_of(docids.tolist()), scores.tolist(), strict=True))

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        start = 0 if after is None else read_cursor(after)
        return iterate(self._disk.read, batch_size, vectors=vectors, condition=condition, start=start)

    def _view(self, snapshot: Snapshot, layout: Layout, condition: Filter | None) -> View:
        """Return what a search may find."""
        if condition is None:
            passing = self._disk.alive(snapshot, layout) if snapshot.deleted else None
            return View(layout, snapshot.slots, snapshot.count, passing)
        passing = select(condition, snapshot.docids, snapshot.find)
        if snapshot.deleted or snapshot.purged:
            passing &= self._disk.alive(snapshot, layout)
        return View(layout, snapshot.slots, int(np.count_nonzero(passing)), passing)

    def _parameters(self, snapshot: Snapshot, layout: Layout) -> SearchParameters:
        """Return how much a search looks at: each of the options, else what calibration found, else the default."""
        manifest = layout.manifest
        default = default_parameters(snapshot.slots, self.contract.dimension, manifest.plan.nlist)
        return (manifest.parameters or default).overridden(self.options)


def _hits(snapshot: Snapshot, docids: DocIds, scores: Float32) -> list[Hit]:
    found = snapshot.by_docid(docids.tolist())
    return [Hit(record, score) for record, score in zip(found, scores.tolist(), strict=True)]


def _silent(_: Progress) -> None:
    pass


def _check_contract(contract: object) -> None:
    if not isinstance(contract, Contract):
        raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")


def _check_encoder(contract: Contract, encoder: Encoder | None, ours: str = "this index") -> None:
    if encoder is not None:
        contract.check(encoder.contract, ours=ours)
