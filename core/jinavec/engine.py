"""Engine: the small protocol every integration meets; and open_engine, which finds one by its target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar, Self, overload

import numpy as np
from numpy.typing import ArrayLike

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.errors import EngineError, InvalidInput, InvalidTarget, InvalidType, InvalidVectors, brief
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.records import Hit, Record, same_content
from jinavec.settings import EncoderSettings
from jinavec.vectors import Float32, normalize

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "elasticsearch": "jinavec_integrations.elasticsearch:ElasticsearchIndex",
        "faiss": "jinavec_integrations.faiss:BinaryIndex",
        "qdrant": "jinavec_integrations.qdrant:QdrantIndex",
    }
)
"""Engines by the scheme of their targets; imported on first use."""


class Engine(ABC):
    """Records and vectors of one contract, searchable.

    This class checks what comes in; an integration writes the underscored methods, which may trust it.
    """

    options_type: ClassVar[type | None] = None
    """The dataclass of the engine's options, if it has any."""
    contract: Contract
    encoder: Encoder | None = None
    """Embeds texts for ``add`` and ``search``, when the engine was opened with one."""
    settings: EncoderSettings | None = None
    """How the vectors inside were encoded, as far as the engine remembers."""

    @classmethod
    @abstractmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open what a target names after its scheme; create it if there is a contract and nothing there."""

    def add(self, records: Iterable[Record], vectors: ArrayLike | None = None) -> int:
        """Store records with their vectors, replacing those with the same id; all of them, or none on an error.

        Args:
            records: what to store; of two with one id, the last counts.
            vectors: (n, dimension), normalised on entry; without them the engine's encoder embeds the texts.

        Returns:
            The number of records stored.

        Raises:
            InvalidRecord, InvalidVectors, InvalidType: something that cannot be stored.
        """
        if not isinstance(records, Iterable):
            raise InvalidType(f"records must be a list of Record objects, not one {type(records).__name__}")
        given = list(records)
        for record in given:
            if not isinstance(record, Record):
                raise InvalidType(f"records must be Record objects, not {type(record).__name__}")
        if vectors is None:
            rows = self._need_encoder("vectors").encode_documents([record.text for record in given])
        else:
            rows = self._check_vectors(vectors, len(given))
        last = {record.id: number for number, record in enumerate(given)}
        kept = sorted(last.values())
        if kept:
            self._add([given[number] for number in kept], rows if len(kept) == len(given) else rows[kept])
        return len(kept)

    def delete(self, ids: str | Iterable[str]) -> int:
        """Delete records by id and return how many there were; unknown ids are passed over."""
        return self._delete(list(dict.fromkeys(check_ids(ids))))

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
        """Return the k best records for a query, best first; fewer where fewer pass the filter.

        Args:
            query: a vector (dimension,), or a text if the engine was opened with an encoder.
            k: the number of hits.
            filter: a filter on the metadata (see ``jinavec.filters``), applied before the search.

        Raises:
            InvalidVectors, InvalidFilter, InvalidInput: a query, filter or k that cannot be used.
        """
        wanted = check_k(k)
        condition = None if filter is None else parse_filter(filter)
        if isinstance(query, str):
            vector = self._need_encoder("a query vector").encode_queries([query])[0]
        else:
            vector = self._check_query(query)
        return self._search(vector, wanted, condition)

    def missing(self, records: Iterable[Record]) -> list[Record]:
        """Return those records that are not there as they are: what is left to add after an interruption."""
        given = list(records)
        known = {record.id: record for record in self.get([record.id for record in given])}
        return [record for record in given if not (record.id in known and same_content(record, known[record.id]))]

    def finish(self, report: Callable[[str, int, int], None] | None = None) -> object:
        """Arrange what was added, where an engine gains by it: to be called once after much of it.

        Args:
            report: called with a phase, the rows done in it, and the rows there are.
        """
        return None

    @abstractmethod
    def count(self) -> int:
        """Return the number of records."""

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """Return what a person wants to know about the engine's state, as plain JSON values."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; closing twice is allowed."""

    @abstractmethod
    def _add(self, records: list[Record], vectors: Float32) -> None: ...

    @abstractmethod
    def _delete(self, ids: list[str]) -> int: ...

    @abstractmethod
    def _get(self, ids: list[str]) -> list[Record]: ...

    @abstractmethod
    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]: ...

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty engine is still an engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check_vectors(self, vectors: ArrayLike, count: int) -> Float32:
        if count == 0 and np.size(vectors) == 0:
            return np.empty((0, self.contract.dimension), np.float32)
        return self._check_shape(vectors, (count, self.contract.dimension))

    def _check_query(self, query: ArrayLike) -> Float32:
        return self._check_shape(query, (self.contract.dimension,))

    def _check_shape(self, vectors: ArrayLike, shape: tuple[int, ...]) -> Float32:
        rows = normalize(vectors)
        if rows.shape != shape:
            raise InvalidVectors(f"vectors have the shape {rows.shape}; expected {shape}, as the contract says")
        return rows

    def _need_encoder(self, instead: str) -> Encoder:
        if self.encoder is None:
            raise InvalidInput(f"this index was opened without an encoder: give {instead}, or open it with encoder=")
        return self.encoder


def open_engine(
    target: str, *, contract: Contract | None = None, encoder: Encoder | None = None, options: object = None
) -> Engine:
    """Open an engine by its target, such as ``faiss:DIR``.

    Args:
        target: ``SCHEME:LOCATION``.
        contract: creates what is not there, or compares with what is.
        encoder: the same under ``encoder.contract``; ``add`` and ``search`` then also take texts.
        options: the engine's own options dataclass, or a mapping of its fields.

    Raises:
        InvalidTarget: no such engine, or no location.
        IndexNotFound: nothing there, and neither contract nor encoder to create it.
        ContractMismatch: it is there under another contract.
        MissingExtra: the engine's library is not installed.
    """
    if contract is not None and not isinstance(contract, Contract):
        raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")
    if contract is not None and encoder is not None:
        contract.check(encoder.contract, ours="the contract")
    engine, location = find_engine(target)
    return engine.open_target(
        location,
        contract=encoder.contract if encoder is not None else contract,
        encoder=encoder,
        options=options,
    )


def find_engine(target: str) -> tuple[type[Engine], str]:
    """Split a target into its engine and the location after the scheme.

    Raises:
        InvalidTarget: no such engine, or no location.
    """
    scheme, colon, location = str(target).partition(":")
    if scheme not in ENGINES or not colon or not location:
        raise InvalidTarget(
            f"cannot read the target {target!r}; write ENGINE:LOCATION with one of: {', '.join(ENGINES)}"
        )
    module, name = ENGINES[scheme].split(":")
    try:
        return getattr(import_module(module), name), location
    except ModuleNotFoundError as error:
        raise EngineError(f"the engine {scheme!r} is not part of this installation: {error}") from error


def check_k(k: int) -> int:
    """Return the number of hits that is asked for.

    Raises:
        InvalidInput: not a whole number of at least 1.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InvalidInput(f"k must be a whole number of at least 1, not {brief(k)}")
    return int(k)


def check_ids(ids: str | Iterable[str]) -> list[str]:
    """Return ids as a list; one string is one id.

    Raises:
        InvalidType: something else.
    """
    if not isinstance(ids, Iterable):
        raise InvalidType(f"ids are strings, not {brief(ids)}")
    given = [ids] if isinstance(ids, str) else list(ids)
    for id in given:
        if not isinstance(id, str):
            raise InvalidType(f"ids are strings, not {brief(id)}")
    return given
