"""Any sequence of calls gives what a dict and exact arithmetic give."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jinavec import Record
from jinavec.filters import match, parse_filter
from jinavec.vectors import Float32, to_int8
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, DIMENSION

IDS = st.sampled_from(["a", "b", "c", "ключ", "\0", " ", "id with 'quotes'"])
COLOURS = ["red", "green", "blue"]
FILTERS: list[Any] = [None, {"colour": "red"}, {"colour": {"ne": "red"}}, {"size": {"gt": 3}}, {"colour": "no such"}]


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(0)

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "index"
        self.index = BinaryIndex.create(self.folder, CONTRACT)
        self.records: dict[str, tuple[Record, Float32]] = {}
        """In the order in which they were stored."""

    @rule(ids=st.lists(IDS, max_size=5), colour=st.sampled_from(COLOURS), size=st.integers(0, 6))
    def add(self, ids: list[str], colour: str, size: int) -> None:
        records = [Record(id, f"text {size}", {"colour": colour, "size": size}) for id in ids]
        vectors = self.random.standard_normal((len(ids), DIMENSION)).astype(np.float32)
        assert self.index.add(records, vectors) == len(set(ids))
        for number, record in enumerate(records):
            self.records.pop(record.id, None)
            self.records[record.id] = record, vectors[number]

    @rule(ids=st.lists(IDS, max_size=3))
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == sum(self.records.pop(id, None) is not None for id in ids)

    @rule(reader=st.booleans())
    def open_again(self, reader: bool) -> None:
        if reader:
            with BinaryIndex.open(self.folder) as second:
                assert second.count() == len(self.records)
        else:
            self.index.close()
            self.index = BinaryIndex.open(self.folder, contract=CONTRACT)

    @rule(lists=st.sampled_from([None, 1, 2, 5]))
    def compact(self, lists: int | None) -> None:
        self.index.close()
        options = {"plan": "flat"} if lists is None else {"nlist": lists, "nprobe": 5}
        self.index = BinaryIndex.open(self.folder, options=options)
        self.index.compact()
        assert self.index.info()["rows"] == len(self.records)

    @rule()
    def verify(self) -> None:
        self.index.verify()

    @rule(radius=st.integers(0, DIMENSION), filter=st.sampled_from(FILTERS))
    def range_search(self, radius: int, filter: Any) -> None:
        query = self.random.standard_normal(DIMENSION)
        condition = parse_filter(filter or {})
        passing = [(r, v) for r, v in self.records.values() if match(condition, r.metadata)]
        distances = [(record, int(((vector > 0) != (query > 0)).sum())) for record, vector in passing]
        near = sorted((pair for pair in distances if pair[1] <= radius), key=lambda pair: pair[1])
        assert self.index.range_search(query, radius, filter) == near

    @rule(ids=st.lists(IDS, max_size=4))
    def get(self, ids: list[str]) -> None:
        assert self.index.get(ids) == [self.records[id][0] for id in ids if id in self.records]

    @rule(k=st.integers(1, 9), filter=st.sampled_from(FILTERS))
    def search(self, k: int, filter: Any) -> None:
        query = self.random.standard_normal(DIMENSION)
        condition = parse_filter(filter or {})
        passing = [(r, v) for r, v in self.records.values() if match(condition, r.metadata)]
        scores = {record.id: _cosine(query, vector) for record, vector in passing}
        expected = sorted(scores, key=lambda id: -scores[id])[:k]
        hits = self.index.search(query, k, filter)
        assert self.index.search_batch([query, -query], k, filter)[0] == hits
        assert [hit.record for hit in hits] == [self.records[id][0] for id in expected]
        np.testing.assert_allclose([hit.score for hit in hits], [scores[id] for id in expected], atol=1e-6)

    @invariant()
    def count(self) -> None:
        assert self.index.count() == len(self.records)

    def teardown(self) -> None:
        self.index.close()
        shutil.rmtree(self.folder.parent)


def _cosine(query: Any, vector: Float32) -> float:
    stored = to_int8(vector).astype(np.float64)
    return float(stored @ query / np.linalg.norm(stored) / np.linalg.norm(query))


TestMachine = Machine.TestCase
TestMachine.settings = settings(deadline=None, max_examples=25, stateful_step_count=25)
