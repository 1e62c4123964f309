"""ListEngine: the least an engine must be, for tests of what the base class does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from jinavec import Backend, Contract, Encoder, Engine, Hit, ModelProfile, Page, Record, Report, Role, Task
from jinavec.errors import IndexNotFound
from jinavec.filters import Filter, match
from jinavec.options import read_options

WIDTH = 8
PROFILE = ModelProfile(name="hash", width=WIDTH, prompts={(Task.RETRIEVAL, Role.QUERY): "Q: "})
Vectors = NDArray[np.float32]


def hash_vector(text: str) -> Vectors:
    seed = list(hashlib.sha256(text.encode()).digest())
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


class HashBackend(Backend):
    name = "hash"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Vectors:
        return np.stack([hash_vector(text) for text in texts])


@dataclass(frozen=True)
class ListOptions:
    fast: bool = False


class ListEngine(Engine):
    """The least an engine must be: a dict of records, searched by computing every cosine."""

    name = "list"
    options_type = ListOptions
    shelf: ClassVar[dict[str, Any]] = {}

    def __init__(self, contract: Contract, encoder: Encoder | None = None, options: object = None) -> None:
        self.contract = contract
        self.encoder = encoder
        self.options = read_options(ListOptions, options)
        self.rows: dict[str, tuple[Record, Vectors]] = {}
        self.closed = 0

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        if location not in cls.shelf:
            if contract is None:
                raise IndexNotFound(f"no list at {location!r}")
            cls.shelf[location] = cls(contract, encoder, options)
        engine = cls.shelf[location]
        if contract is not None:
            engine.contract.check(contract)
        return engine

    def close(self) -> None:
        self.closed += 1

    def _store(self, records: list[Record], vectors: Vectors) -> dict[str, str]:
        assert vectors.dtype == np.float32
        assert vectors.flags.c_contiguous
        self.rows |= {record.id: (record, vector) for record, vector in zip(records, vectors, strict=True)}
        return {}

    def _delete(self, ids: list[str]) -> int:
        found = [id for id in ids if id in self.rows]
        self.rows = {id: row for id, row in self.rows.items() if id not in found}
        return len(found)

    def _get(self, ids: list[str]) -> list[Record]:
        return [self.rows[id][0] for id in ids if id in self.rows]

    def _search(self, query: Vectors, k: int, condition: Filter | None) -> list[Hit]:
        hits = [
            Hit(record, float(vector @ query))
            for record, vector in self.rows.values()
            if condition is None or match(condition, record.metadata)
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        passing = [
            (record, vector)
            for id, (record, vector) in sorted(self.rows.items())
            if (after is None or id > after) and (condition is None or match(condition, record.metadata))
        ]
        for start in range(0, len(passing), batch_size):
            part = passing[start : start + batch_size]
            rows = np.stack([vector for _, vector in part]) if vectors else None
            yield Page([record for record, _ in part], part[-1][0].id, rows)
