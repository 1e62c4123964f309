"""Engine: the protocol every integration meets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal, NoReturn, Self, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidRecord,
    InvalidType,
    InvalidVectors,
    JinavecError,
    RecordsFailed,
    ServerError,
    TextTooLong,
    Unsupported,
    brief,
)
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.ingest import Ingested, OnRefused, ReportProgress, Steps, Vectors, Wishes, ingest_all
from jinavec.process import in_thread
from jinavec.records import Hit, Page, Record, only_records, same_content
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role
from jinavec.vector_rows import VectorRows
from jinavec.vectors import Bits, Float32, bytes_remedy, normalize, refuse_bytes, unpack

Capability = Literal["packed_bits", "compact", "merge", "calibrate", "verify", "hybrid"]
"""What only some engines can do: take packed bits for vectors, or a method of that name."""

Precision = Literal["float32", "int8", "bits"]
"""How exactly an engine keeps vectors."""


class Engine(ABC):
    """Records and vectors of one contract, searchable.

    This class checks what comes in; an engine writes the underscored hooks, which may trust it. Every public method has
    an async twin, which runs it in a worker thread, or awaits an async client where an engine has hooks for that.
    """

    name: ClassVar[str]
    """The engine in messages, such as ``faiss``."""
    options_type: ClassVar[type | None] = None
    """The dataclass of the engine's options, if it has any."""
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    """What this engine can do beside the protocol."""
    contract: Contract
    encoder: Encoder | None = None
    """Embeds texts for ``add``, ``ingest`` and ``search``, when the engine was opened with one."""
    settings: EncoderSettings | None = None
    """How the vectors inside were encoded, as far as the engine remembers."""
    given: Contract | None = None
    """The contract with which the engine was opened: of the vectors that will be added."""

    _created: bool = False
    """Whether opening made the index, and nothing was stored since: then it is never asked what it holds."""

    @classmethod
    @abstractmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open what a target names after its scheme; create it if there is a contract and nothing there."""

    def add(self, records: Iterable[Record], vectors: ArrayLike | None = None) -> int:
        """Store records with their vectors, replacing those with the same id; see ``ingest`` for many.

        Everything is checked before anything is stored; whether a failure of the engine itself can leave some of the
        records stored, its class says.

        Args:
            records: what to store; of two with one id, the last counts.
            vectors: floats (n, dimension), normalized on entry; or packed bits as uint8 (n, ceil(dimension / 8)), where
                ``capabilities`` has packed_bits. Without them the engine's encoder embeds the texts.

        Returns:
            The number of records stored.

        Raises:
            InvalidRecord, InvalidVectors, InvalidType: something that cannot be stored; nothing was.
            RecordsFailed: the engine refused some of them.
        """
        given = _check_records(records)
        if vectors is None:
            rows = self._embed(given)
        else:
            rows = self._check_vectors(vectors, len(given))
        for record in given:
            self._check(record)
        last = {record.id: position for position, record in enumerate(given)}
        kept = sorted(last.values())
        if kept:
            self._store_all([given[position] for position in kept], rows if len(kept) == len(given) else rows[kept])
        return len(kept)

    def ingest(
        self,
        records: Iterable[Record],
        vectors: ArrayLike | Iterable[ArrayLike] | None = None,
        *,
        resume: bool = True,
        batch_size: int | None = None,
        threads: int | None = None,
        on_refused: OnRefused | None = None,
        progress: ReportProgress | None = None,
    ) -> Ingested:
        """Store a stream of records of any length in bounded memory, embedding while earlier batches are stored.

        Args:
            records: any iterable, read as fast as it is stored; of two with one id, the last counts.
            vectors: (n, dimension) as for ``add``: an array, a memory map, or an iterable of rows or blocks, read in
                step with the records. Given vectors are always stored. Without them the encoder embeds the texts.
            resume: skip records that are stored with the same text and metadata, so that an ingest that was interrupted
                can be repeated without embedding anything twice.
            batch_size: records embedded and stored at a time; by default what suits the engine.
            threads: batches stored at the same time; by default what suits the engine.
            on_refused: called with id and reason of each record that cannot be stored, while the others are. Without it
                the ingest stops at the first.
            progress: called with a ``Progress``; while a server embeds, from another thread.

        Returns:
            What was added, replaced, left unchanged and refused. Counts come from the ids given, so other clients may
            write to the index meanwhile.

        Raises:
            InvalidRecord, RecordsFailed: a record was refused; the message names it, and says how many are stored.
            InvalidVectors: vectors that cannot be stored, or not one for each record.
            EngineError: the engine failed; the batches before are stored.
        """
        if not isinstance(records, Iterable):
            raise InvalidType(f"records must be an iterable of Record objects, not {type(records).__name__}")
        wishes = Wishes(
            resume=resume,
            batch_size=self._batch_hint(embeds=vectors is None) if batch_size is None else batch_size,
            threads=self._ingest_threads() if threads is None else threads,
            on_refused=on_refused,
            progress=progress,
        )
        rows = None if vectors is None else VectorRows(vectors)
        if rows is None:
            self._need_encoder("vectors")
        self._begin()
        with self._flushed():
            return ingest_all(records, rows, self._steps(), wishes)

    @overload
    def delete(self, ids: str | Iterable[str]) -> int: ...
    @overload
    def delete(self, *, filter: FilterDict) -> int: ...
    def delete(self, ids: str | Iterable[str] | None = None, *, filter: FilterDict | None = None) -> int:
        """Delete records by id, or all whose metadata match a filter; return how many there were.

        Unknown ids are skipped.

        Raises:
            InvalidInput: both ids and a filter, or neither.
            InvalidFilter: no filter; or an empty one, which every record matches.
        """
        if ids is not None and filter is not None:
            raise InvalidInput("delete takes ids or filter=, not both")
        if filter is None:
            return self._delete(list(dict.fromkeys(check_ids(cast("str | Iterable[str]", ids)))))
        condition = parse_filter(filter)
        if filter == {}:
            raise InvalidFilter("an empty filter would delete every record; write filter={'and': []} to do that")
        return self._delete_where(condition)

    @overload
    def get(self, ids: str) -> Record | None: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def get(self, ids: Iterable[str]) -> list[Record]: ...
    def get(self, ids: str | Iterable[str]) -> Record | list[Record] | None:
        """Return the record of an id, or None; of several ids, those records that exist, in the order asked."""
        found = self._get(check_ids(ids))
        if isinstance(ids, str):
            return found[0] if found else None
        return found

    def search(self, query: str | ArrayLike, k: int = 10, filter: FilterDict | None = None) -> list[Hit]:
        """Return the k best records for a query, best first; fewer where fewer match the filter.

        Args:
            query: a vector (dimension,), or a text if the engine was opened with an encoder; packed bits as uint8
                (dimension / 8,) stand for the direction of +1 and -1, where ``capabilities`` has packed_bits.
            k: the number of hits.
            filter: a filter on the metadata (see ``jinavec.filters``), applied before the search.

        Raises:
            InvalidVectors, InvalidFilter, InvalidInput: a query, filter or k that cannot be used.
        """
        wanted, condition = _check_wish(k, filter)
        return self._search(self._query_vector(query), wanted, condition)

    def search_ids(
        self, query: str | ArrayLike, k: int = 10, filter: FilterDict | None = None
    ) -> list[tuple[str, float]]:
        """Return the ids and scores of what ``search`` finds, where texts and metadata are kept elsewhere.

        Args, Raises: as of ``search``.
        """
        wanted, condition = _check_wish(k, filter)
        return self._search_ids(self._query_vector(query), wanted, condition)

    def search_batch(
        self, queries: Sequence[str] | ArrayLike, k: int = 10, filter: FilterDict | None = None
    ) -> list[list[Hit]]:
        """Return what ``search`` returns for each query, in their order.

        Args:
            queries: (n, dimension), or texts if the engine was opened with an encoder, or packed bits as in ``search``.
            k: the number of hits for each.
            filter: a filter on the metadata, the same for all.

        Raises:
            InvalidVectors, InvalidFilter, InvalidInput, InvalidType: queries, a filter or a k that cannot be used.
        """
        wanted, condition = _check_wish(k, filter)
        texts = _query_texts(queries)
        if texts is None:
            rows = self._query_rows(cast("ArrayLike", queries))
        else:
            rows = self._need_encoder("query vectors").encode_queries(texts)
        return self._search_batch(rows, wanted, condition) if len(rows) else []

    def iterate(
        self,
        batch_size: int = 1000,
        *,
        vectors: bool = False,
        filter: FilterDict | None = None,
        after: str | None = None,
    ) -> Iterator[Page]:
        """Yield every record once, page by page, in bounded memory and an order of the engine's own.

        Others may write meanwhile: a record that is there all the time comes exactly once.

        Args:
            batch_size: records of a page, at most.
            vectors: whether pages have the stored vectors, too.
            filter: only records whose metadata match.
            after: the cursor of a page, to go on behind it; it may come from another process.

        Raises:
            InvalidInput, InvalidFilter: a batch size, cursor or filter that cannot be used.
        """
        size = _whole("batch_size", batch_size)
        condition = None if filter is None else parse_filter(filter)
        if not (after is None or isinstance(after, str)):
            raise InvalidType(f"after is the cursor of a page, a string, not {brief(after)}")
        return self._iterate(size, vectors, condition, after)

    @property
    def vector_precision(self) -> Precision:
        """How exact the vectors of ``iterate`` are: as they were stored, decoded from int8, or the signs alone."""
        return "float32"

    def count(self) -> int:
        """Return the number of records."""
        return sum(len(page) for page in self._iterate(1000, False, None, None))

    def info(self) -> dict[str, Any]:
        """Return what a person wants to know about the engine's state, as plain JSON values."""
        return {
            "engine": self.name,
            "records": self.count(),
            "contract": self.contract.to_json(),
            "encoder": None if self.settings is None else self.settings.to_json(),
        }

    def optimize(self, progress: ReportProgress | None = None) -> object:
        """Arrange what was added, where an engine gains by it: to be called once after much of it."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Release resources. Idempotent."""

    def compact(self, progress: ReportProgress | None = None) -> object:
        """Free the space of deleted records; see the classes that have the capability."""
        self._unsupported("compact")

    def merge(self, other: Engine, progress: ReportProgress | None = None) -> int:
        """Add the records of another index of the same contract; see the classes that have the capability."""
        self._unsupported("merge")

    def calibrate(
        self, target_recall: float = 0.95, queries: ArrayLike | None = None, *, k: int = 10, sample: int = 200
    ) -> object:
        """Find the least work that reaches a recall; see the classes that have the capability."""
        self._unsupported("calibrate")

    def verify(self) -> None:
        """Compare what is stored with its checksums; see the classes that have the capability."""
        self._unsupported("verify")

    async def aadd(self, records: Iterable[Record], vectors: ArrayLike | None = None) -> int:
        """``add`` without blocking the event loop."""
        return await in_thread(self.add, records, vectors)

    async def aingest(
        self, records: Iterable[Record], vectors: ArrayLike | Iterable[ArrayLike] | None = None, **wishes: Any
    ) -> Ingested:
        """``ingest`` without blocking the event loop; records are read, and callbacks called, in a worker thread."""
        return await in_thread(self.ingest, records, vectors, **wishes)

    async def adelete(self, ids: str | Iterable[str] | None = None, *, filter: FilterDict | None = None) -> int:
        """``delete`` without blocking the event loop."""
        delete = cast("Callable[..., int]", self.delete)
        return await in_thread(delete, ids, filter=filter)

    @overload
    async def aget(self, ids: str) -> Record | None: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    async def aget(self, ids: Iterable[str]) -> list[Record]: ...
    async def aget(self, ids: str | Iterable[str]) -> Record | list[Record] | None:
        """``get`` without blocking the event loop."""
        found = await self._aget(check_ids(ids))
        if isinstance(ids, str):
            return found[0] if found else None
        return found

    async def asearch(self, query: str | ArrayLike, k: int = 10, filter: FilterDict | None = None) -> list[Hit]:
        """``search`` without blocking the event loop."""
        wanted, condition = _check_wish(k, filter)
        if isinstance(query, str):
            vector = (await self._need_encoder("a query vector").aencode_queries([query]))[0]
        else:
            vector = self._check_query(query)
        return await self._asearch(vector, wanted, condition)

    async def asearch_batch(
        self, queries: Sequence[str] | ArrayLike, k: int = 10, filter: FilterDict | None = None
    ) -> list[list[Hit]]:
        """``search_batch`` without blocking the event loop."""
        wanted, condition = _check_wish(k, filter)
        texts = _query_texts(queries)
        if texts is None:
            rows = self._query_rows(cast("ArrayLike", queries))
        else:
            rows = await self._need_encoder("query vectors").aencode_queries(texts)
        return await self._asearch_batch(rows, wanted, condition) if len(rows) else []

    async def aiterate(
        self,
        batch_size: int = 1000,
        *,
        vectors: bool = False,
        filter: FilterDict | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Page]:
        """``iterate`` without blocking the event loop."""
        pages = self.iterate(batch_size, vectors=vectors, filter=filter, after=after)
        while (page := await in_thread(next, pages, None)) is not None:
            yield page

    async def acount(self) -> int:
        """``count`` without blocking the event loop."""
        return await in_thread(self.count)

    async def ainfo(self) -> dict[str, Any]:
        """``info`` without blocking the event loop."""
        return await in_thread(self.info)

    async def aoptimize(self, progress: ReportProgress | None = None) -> object:
        """``optimize`` without blocking the event loop."""
        return await in_thread(self.optimize, progress)

    async def aclose(self) -> None:
        """``close`` without blocking the event loop."""
        await in_thread(self.close)

    # The hooks of an engine.

    @abstractmethod
    def _store(self, records: list[Record], vectors: Vectors) -> Mapping[str, str]:
        """Store a batch, replacing records with the same id; return the reason, by id, of each that was refused.

        Args:
            records: of distinct ids, each passed by ``_check``. During an ingest, called from several threads.
            vectors: float32 (n, dimension) of unit length; packed bits as uint8 only with the capability packed_bits.
        """

    @abstractmethod
    def _delete(self, ids: list[str]) -> int:
        """Delete by distinct ids, and return how many records there were."""

    @abstractmethod
    def _get(self, ids: list[str]) -> list[Record]:
        """Return those records that exist, in the order of the ids."""

    @abstractmethod
    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        """Return the k best records that match a condition, best first, scored by cosine."""

    @abstractmethod
    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        """Yield every record that matches once, in bounded memory, while others write."""

    def _begin(self) -> None:  # noqa: B027  (a hook that need not be written)
        """Prepare for storing, once for each add or ingest: compare contracts again, remember the encoder."""

    def _joined(self) -> Contract | None:
        """Return the contract that also records the precision of the vectors to come; None if it does already."""
        given = self.given if self.encoder is None else self.encoder.contract
        if given is None or (self.encoder is None and given.precision == "float32"):  # the default: nobody said so
            return None
        joined = self.contract.joined_by(given)
        return None if joined.precision == self.contract.precision else joined

    def _check(self, record: Record) -> None:
        """Refuse a record that cannot be stored; raises InvalidRecord."""
        record.metadata_json()

    def _unchanged(self, records: list[Record]) -> Mapping[str, bool]:
        """Return for those of the ids that are stored: whether text and metadata are the same."""
        known = {record.id: record for record in self._get([record.id for record in records])}
        return {record.id: same_content(record, known[record.id]) for record in records if record.id in known}

    def _flush(self) -> None:  # noqa: B027  (a hook that need not be written)
        """Make what was stored searchable; at the end of each add or ingest."""

    def _search_ids(self, query: Float32, k: int, condition: Filter | None) -> list[tuple[str, float]]:
        return [(hit.record.id, hit.score) for hit in self._search(query, k, condition)]

    def _search_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        return [self._search(query, k, condition) for query in queries]

    # Those that an engine with an async client overrides; by default each runs its twin in a worker thread.

    async def _aget(self, ids: list[str]) -> list[Record]:
        return await in_thread(self._get, ids)

    async def _asearch(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        return await in_thread(self._search, query, k, condition)

    async def _asearch_batch(self, queries: Float32, k: int, condition: Filter | None) -> list[list[Hit]]:
        return await in_thread(self._search_batch, queries, k, condition)

    def _delete_where(self, condition: Filter) -> int:
        pages = self._iterate(1000, False, condition, None)
        return sum(self._delete([record.id for record in page]) for page in pages)

    def _batch_hint(self, *, embeds: bool) -> int:
        """Return how many records a batch of an ingest should have; ``embeds``: their texts are embedded first."""
        return 1024

    def _ingest_threads(self) -> int:
        """Return how many batches should be stored at the same time."""
        return 1

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty engine is still an engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _steps(self) -> Steps:
        def embed(texts: list[str], advance: Callable[[int, int], None]) -> tuple[Vectors, Mapping[int, str]]:
            refused: dict[int, str] = {}
            encoder = self._need_encoder("vectors")
            return encoder.encode(texts, role=Role.DOCUMENT, progress=advance, refused=refused.update), refused

        return Steps(
            where=self.name,
            check=self._check,
            unchanged=None if self._created else self._unchanged,
            embed=embed,
            accept=lambda vectors: self._check_vectors(vectors, len(vectors)),
            store=self._store,
        )

    def _embed(self, records: list[Record]) -> Vectors:
        try:
            return self._need_encoder("vectors").encode_documents([record.text for record in records])
        except (TextTooLong, ServerError) as error:
            if not error.positions:
                raise
            raise InvalidRecord(f"record {records[error.positions[0]].id!r}: {error.args[0]}") from error

    def _store_all(self, records: list[Record], vectors: Vectors) -> None:
        self._begin()
        with self._flushed():
            refused = self._store(records, vectors)
        if refused:
            raise RecordsFailed(self.name, len(records), refused, stored=len(records) - len(refused))

    @contextmanager
    def _flushed(self) -> Generator[None]:
        """Make searchable what is stored inside, also where that ends with an error; which stays the one to be seen."""
        try:
            yield
        except BaseException:
            with suppress(JinavecError):
                self._flush()
            raise
        finally:
            self._created = False
        self._flush()

    def _check_vectors(self, vectors: ArrayLike, count: int) -> Vectors:
        if count == 0 and np.size(vectors) == 0:
            return np.empty((0, self.contract.dimension), np.float32)
        if _is_packed(vectors):
            return self._check_packed(cast("Bits", vectors), count)
        return self._check_shape(vectors, (count, self.contract.dimension))

    def _check_packed(self, bits: Bits, count: int) -> Bits:
        dimension = self.contract.dimension
        if "packed_bits" not in self.capabilities:
            raise Unsupported(f"the {self.name} engine does not support packed bits (uint8): give vectors of floats")
        shape = count, -(-dimension // 8)
        if bits.shape != shape:
            remedy = bytes_remedy(bits, bits.shape[-1], dimension)
            raise InvalidVectors(
                f"packed bits have the shape {bits.shape}; expected {shape}, one bit a dimension{remedy}"
            )
        spare = -dimension % 8
        if spare and (bits[:, -1] & ((1 << spare) - 1)).any():
            raise InvalidVectors(f"the last {spare} bits of each code lie beyond the dimension and must be zero")
        return np.ascontiguousarray(bits)

    def _query_rows(self, queries: ArrayLike) -> Float32:
        if np.size(queries) == 0:
            return np.empty((0, self.contract.dimension), np.float32)
        count = len(cast("Sequence[Any]", queries)) if np.ndim(queries) else 1
        if "packed_bits" in self.capabilities and _is_packed(queries):
            return self._directions(cast("Bits", queries))
        return self._check_shape(queries, (count, self.contract.dimension))

    def _query_vector(self, query: str | ArrayLike) -> Float32:
        if isinstance(query, str):
            return self._need_encoder("a query vector").encode_queries([query])[0]
        return self._check_query(query)

    def _check_query(self, query: ArrayLike) -> Float32:
        if "packed_bits" in self.capabilities and _is_packed(query):
            return self._directions(cast("Bits", query)[None])[0]
        return self._check_shape(query, (self.contract.dimension,))

    def _directions(self, bits: Bits) -> Float32:
        """Return the unit vectors (n, dimension) that packed bits stand for."""
        return normalize(unpack(self._check_packed(bits, len(bits)))[:, : self.contract.dimension])

    def _check_shape(self, vectors: ArrayLike, shape: tuple[int, ...]) -> Float32:
        rows = normalize(vectors)
        if rows.shape != shape:
            remedy = bytes_remedy(vectors, rows.shape[-1], shape[-1])
            raise InvalidVectors(f"vectors have the shape {rows.shape}; expected {shape}, as the contract says{remedy}")
        refuse_bytes(vectors)
        return rows

    def _need_encoder(self, instead: str) -> Encoder:
        if self.encoder is None:
            raise InvalidInput(f"this index was opened without an encoder: give {instead}, or open it with encoder=")
        return self.encoder

    def _unsupported(self, ability: Capability) -> NoReturn:
        raise Unsupported(f"the {self.name} engine does not support {ability}")


def _query_texts(queries: Sequence[str] | ArrayLike) -> list[str] | None:
    """Return several queries as texts; None where they are vectors."""
    if isinstance(queries, str) or not isinstance(queries, Iterable):
        raise InvalidType(f"search_batch takes several queries, not {brief(queries)}; for one, use search")
    if isinstance(queries, np.ndarray):
        return None
    given = list(cast("Sequence[Any]", queries))
    return cast("list[str]", given) if given and all(isinstance(query, str) for query in given) else None


def _check_wish(k: int, filter: FilterDict | None) -> tuple[int, Filter | None]:
    return check_k(k), None if filter is None else parse_filter(filter)


def check_k(k: int) -> int:
    """Return the number of hits that is asked for.

    Raises:
        InvalidInput: not a whole number of at least 1.
    """
    return _whole("k", k)


def check_ids(ids: str | Iterable[str]) -> list[str]:
    """Return ids as a list; one string is one id.

    Raises:
        InvalidType: something else.
    """
    if not isinstance(ids, Iterable) or isinstance(ids, Mapping):  # the latter is a filter in the wrong place
        raise InvalidType(f"ids are strings, not {brief(cast('object', ids))}")
    given = [ids] if isinstance(ids, str) else list(ids)
    for id in given:
        if not isinstance(id, str):
            raise InvalidType(f"ids are strings, not {brief(id)}")
    return given


def _check_records(records: Iterable[Record]) -> list[Record]:
    if not isinstance(records, Iterable):
        raise InvalidType(f"records must be a list of Record objects, not one {type(records).__name__}")
    return list(only_records(records))


def _is_packed(vectors: object) -> bool:
    return isinstance(vectors, np.ndarray) and cast("NDArray[Any]", vectors).dtype == np.uint8


def _whole(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidInput(f"{name} must be a whole number of at least 1, not {brief(value)}")
    return int(value)
