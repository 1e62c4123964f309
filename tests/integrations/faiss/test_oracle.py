"""Every search against NumPy: flat and in lists, with int8 copies and bits alone, before and after changes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jinavec import Record
from jinavec.vectors import Float32, asymmetric, binarize, hamming, normalize, to_int8
from jinavec_integrations.faiss import BinaryIndex
from jinavec_integrations.faiss.search.kernel import LEVELS

from .test_index import clustered, contract

COUNT, DIMENSION = 600, 64
VECTORS = clustered(COUNT, DIMENSION, 5)
BITS, INT8 = binarize(VECTORS), normalize(to_int8(VECTORS))
EVERYTHING = {"nprobe": 12, "candidates": COUNT, "rescore": COUNT}
PATHS = ["faiss", *LEVELS]
"""What this machine lacks counts as the best that it has."""
SHAPES = {"flat": {"plan": "flat"}, "lists": {"nlist": 12}}
FILTERS: list[tuple[Any, Callable[[NDArray[np.int64]], NDArray[np.bool_]]]] = [
    (None, lambda rows: rows >= 0),
    ({"third": 1}, lambda rows: rows % 3 == 1),
    ({"not": {"third": 1}}, lambda rows: rows % 3 != 1),
    ({"rare": True}, lambda rows: rows % 97 == 0),
    ({"third": {"gt": 5}}, lambda rows: rows < 0),
]
RECORDS = [Record(str(row), "", {"third": row % 3, "rare": row % 97 == 0}) for row in range(COUNT)]


@pytest.fixture(autouse=True)
def small_as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the short ways of small indexes and small selections."""
    monkeypatch.setattr("jinavec_integrations.faiss.search.pipeline._WHOLE", 1)
    for path in ("kernel", "plain"):
        monkeypatch.setattr(f"jinavec_integrations.faiss.search.{path}._FEW", 10**6)


class Checked:
    """An index and what it should hold."""

    def __init__(self, template: Path, folder: Path, shape: str, vectors: str) -> None:
        self.index = BinaryIndex.open(shutil.copytree(template, folder), options={**SHAPES[shape], **EVERYTHING})
        self.vectors = vectors
        self.alive = np.ones(COUNT, np.bool_)

    def check(self, query: Float32, k: int, filter: Any, passes: Any, radius: int) -> None:
        rows = np.flatnonzero(self.alive & passes(np.arange(COUNT)))
        for path in PATHS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("JINAVEC_KERNEL", path)
                self.check_hits(self.index.search(query, k, filter), query, k, rows)
                other, _ = self.index.search_batch([query, -query], k, filter)
                self.check_hits(other, query, k, rows)
        distances = hamming(binarize(query), BITS[rows])
        near = {int(row): int(d) for row, d in zip(rows, distances, strict=True) if d <= radius}
        found = self.index.range_search(query, radius, filter)
        assert {int(record.id): distance for record, distance in found} == near
        assert len(found) == len(near)
        assert [distance for _, distance in found] == sorted(near.values())

    def check_hits(self, hits: Any, query: Float32, k: int, rows: NDArray[np.int64]) -> None:
        scores = INT8 @ query if self.vectors == "int8" else asymmetric(query, BITS)
        found = [int(hit.record.id) for hit in hits]
        assert len(set(found)) == len(found) == min(k, len(rows))
        assert set(found) <= set(rows.tolist())
        np.testing.assert_allclose([hit.score for hit in hits], scores[found], atol=1e-5)
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores[rows])[::-1][:k], atol=1e-5)

    def delete(self, rows: NDArray[np.int64]) -> None:
        assert self.index.delete(map(str, rows.tolist())) == int(self.alive[rows].sum())
        self.alive[rows] = False

    def add(self, rows: NDArray[np.int64]) -> None:
        self.index.add([RECORDS[int(row)] for row in rows.tolist()], VECTORS[rows])
        self.alive[rows] = True


def every(start: int, step: int) -> NDArray[np.int64]:
    return np.arange(start, COUNT, step)


def these(rows: list[int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


ROWS: st.SearchStrategy[NDArray[np.int64]] = st.one_of(
    st.builds(every, st.integers(0, COUNT - 1), st.integers(1, 50)),
    st.builds(these, st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=30, unique=True)),
)
CHANGES = st.lists(st.tuples(st.sampled_from(["add", "delete", "compact", "open"]), ROWS), max_size=5)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """An index of all vectors, made once for each shape."""

    @cache
    def make(shape: str, vectors: str) -> Path:
        folder = tmp_path_factory.mktemp("template") / "index"
        with BinaryIndex.create(folder, contract(DIMENSION), options={**SHAPES[shape], "vectors": vectors}) as index:
            index.add(RECORDS, VECTORS)
            index.compact()
        return folder

    return make


@pytest.mark.parametrize("vectors", ["int8", "none"])
@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_any_changes_k_and_filters(
    template: Callable[[str, str], Path], shape: str, vectors: str, data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp())
    checked = Checked(template(shape, vectors), folder / "index", shape, vectors)
    try:
        for change, rows in data.draw(CHANGES):
            if change == "add":
                checked.add(rows)
            elif change == "delete":
                checked.delete(rows)
            elif change == "compact":
                checked.index.compact()
            else:
                checked.index.close()
                checked.index = BinaryIndex.open(folder / "index", options={**SHAPES[shape], **EVERYTHING})
            random = np.random.default_rng(data.draw(st.integers(0, 1000)))
            query = normalize(VECTORS[random.integers(COUNT)] + random.standard_normal(DIMENSION) / 8)
            filter, passes = data.draw(st.sampled_from(FILTERS))
            k = data.draw(st.sampled_from([1, 2, 10, 100, COUNT - 1, COUNT, COUNT + 1, 10**9]))
            checked.check(query, k, filter, passes, data.draw(st.integers(0, DIMENSION)))
        rows = np.flatnonzero(checked.alive)
        np.testing.assert_array_equal(checked.index.reconstruct(map(str, rows.tolist())), BITS[rows])
        assert checked.index.count() == len(rows)
        checked.index.verify()
    finally:
        checked.index.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("vectors", ["int8", "none"])
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_bits_as_queries(tmp_path: Path, template: Callable[[str, str], Path], shape: str, vectors: str) -> None:
    """They stand for the direction of +1 and -1, in every search."""
    bits = binarize(normalize(VECTORS[:8] + np.random.default_rng(0).standard_normal((8, DIMENSION)) / 8))
    directions = normalize(np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1)
    checked = Checked(template(shape, vectors), tmp_path / "index", shape, vectors)
    with checked.index as index:
        batch = index.search_batch(bits, 10)
        for packed, direction, hits in zip(bits, directions, batch, strict=True):
            checked.check_hits(hits, direction, 10, np.arange(COUNT))
            checked.check_hits(index.search(packed, 10), direction, 10, np.arange(COUNT))
            distances = np.sort(hamming(packed, BITS))
            near = index.range_search(packed, int(distances[9]))
            assert [distance for _, distance in near] == distances[distances <= distances[9]].tolist()
            if vectors == "none":  # the cosine of two directions
                np.testing.assert_allclose([hit.score for hit in hits], 1 - 2 * distances[:10] / DIMENSION, atol=1e-5)
