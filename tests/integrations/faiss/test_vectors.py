"""``ids`` and ``vectors``: what the index gives back of what it was given, whatever happened to it meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, ModelProfile, Record
from jinavec.vectors import Float32, normalize, to_int8
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

COUNT = 600
DIMENSIONS = (20, 64)  # one is not a whole number of bytes


class Given:
    """What was given to an index, by id, in the order in which the index shows its ids."""

    def __init__(self, folder: Path, dimension: int, **options: Any) -> None:
        self.bits_only = options.get("vectors") == "none"
        self.random = np.random.default_rng(dimension)
        self.vectors: dict[str, Float32] = {}
        contract = Contract.of(ModelProfile(name="tests", width=dimension))
        with BinaryIndexBuilder(folder, contract=contract, options=options) as builder:
            rows = self.draw([str(number) for number in range(COUNT)], dimension)
            builder.add([Record(id) for id in self.vectors], rows)
            self.index = builder.finish()

    def draw(self, ids: list[str], dimension: int) -> Float32:
        rows = self.random.standard_normal((len(ids), dimension)).astype(np.float32)
        for id, row in zip(ids, rows, strict=True):
            self.vectors.pop(id, None)  # what is replaced becomes the youngest
            self.vectors[id] = row
        return rows

    def change(self) -> None:
        """Delete some records, replace some, and add some."""
        gone = [str(number) for number in range(0, COUNT, 3)]
        self.index.delete(gone)
        for id in gone:
            self.vectors.pop(id, None)
        ids = [str(number) for number in [*range(1, 100, 3), *range(0, 60, 3), *range(COUNT, COUNT + 50)]]
        self.index.add([Record(id) for id in ids], self.draw(ids, self.index.contract.dimension))

    def check(self, index: BinaryIndex) -> None:
        assert index.ids() == list(self.vectors)
        rows = np.stack(list(self.vectors.values()))
        kept = normalize(np.where(rows > 0, 1, -1) if self.bits_only else to_int8(normalize(rows)))
        stored = index.vectors(self.vectors)
        assert list(stored) == list(self.vectors)
        np.testing.assert_allclose(np.stack(list(stored.values())), kept, atol=1e-6)
        some = [*list(self.vectors)[::-7], "nobody", "0" * 50]
        assert {id: vector.tolist() for id, vector in index.vectors(some).items()} == {
            id: stored[id].tolist() for id in some if id in stored
        }


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("options", [{}, {"nlist": 8}, {"vectors": "none"}, {"vectors": "none", "nlist": 8}])
def test_ids_and_vectors_survive_changes_and_compaction(
    tmp_path: Path, dimension: int, options: dict[str, Any]
) -> None:
    given = Given(tmp_path / "index", dimension, **options)
    with given.index as index:
        given.check(index)
        given.change()
        given.check(index)
        with BinaryIndex.open(index.folder) as reader:
            given.check(reader)
            index.compact()
            given.check(reader)  # it was opened before, and sees the files of now
        given.check(index)
        given.change()
        given.check(index)
    with BinaryIndex.open(tmp_path / "index") as again:
        given.check(again)


def test_what_was_deleted_has_neither_id_nor_vector(tmp_path: Path) -> None:
    given = Given(tmp_path / "index", 64)
    with given.index as index:
        for compacted in (False, True):
            assert index.vectors(["nobody"]) == {}
            index.delete(index.ids())
            assert (index.ids(), index.vectors(["1"])) == ([], {})
            if not compacted:
                index.compact()
