"""Indexes of format 3, written by the jinavec that introduced it (see ``format3/write.py``), go on with this one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Record
from jinavec.vectors import Float32, normalize
from jinavec_integrations.faiss import BinaryIndex, FaissOptions

from .format3.write import KINDS, Kind, State, record, rows, vector

FILTERS: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({"revision": 2}, lambda m: m["revision"] == 2),
    ({"color": "grün"}, lambda m: m["color"] == "grün"),
    ({"weight": {"gte": 3, "lt": 8.25}}, lambda m: 3 <= m["weight"] < 8.25),
    ({"even": True}, lambda m: m["even"]),
    ({"tags": "t3"}, lambda m: "t3" in m["tags"]),
    ({"tags": {"in": [1, 2]}}, lambda m: m["tags"][1] in (1, 2)),
    ({"big": {"gt": 2**70 + 30}}, lambda m: m["big"] > 2**70 + 30),
    ({"or": [{"not": {"even": True}}, {"color": "蓝"}]}, lambda m: not m["even"] or m["color"] == "蓝"),
]


def unpack(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("format3") / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    return unpack(name, tmp_path / name)


def kept(kind: Kind, number: int, revision: int) -> Float32:
    """The vector that an exact search would compare with: where bits are all there is, their direction."""
    own = vector(number, revision, kind.dimension)
    return normalize(np.where(own > 0, 1, -1)) if kind.bits_only else own


def check(index: BinaryIndex, kind: Kind, state: State) -> None:
    """Everything is there, found and scored as by an exact search over the vectors that were given."""
    expected = {record(number, revision).id: record(number, revision) for number, revision in state.items()}
    ids = list(expected)
    stored = np.array([kept(kind, number, revision) for number, revision in state.items()])
    assert index.count() == len(state)
    assert sorted(index.ids()) == sorted(ids)
    assert {found.id: found for found in index.get(ids)} == expected
    for id, found in index.vectors(ids).items():
        np.testing.assert_allclose(found, stored[ids.index(id)], atol=0.01)
    for query in (
        vector(1000, 0, kind.dimension),
        *(vector(*item, kind.dimension) for item in list(state.items())[::25]),
    ):
        check_hits(index, query, expected, stored @ query)
        for condition, passes in FILTERS:
            check_hits(index, query, expected, stored @ query, condition, passes)
    if not kind.bits_only:  # of twelve bits, many are equal
        for number, revision in state.items():
            (best,) = index.search(vector(number, revision, kind.dimension), 1)
            assert best.record == record(number, revision)
            assert best.score > 0.99
    index.verify()


def check_hits(
    index: BinaryIndex,
    query: Float32,
    records: dict[str, Record],
    exact: Float32,
    condition: dict[str, Any] | None = None,
    passes: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> None:
    scores = {
        id: score for id, score in zip(records, exact.tolist(), strict=True) if passes(dict(records[id].metadata))
    }
    hits = index.search(query, len(records), condition)
    assert sorted(hit.record.id for hit in hits) == sorted(scores)
    assert [hit.score for hit in hits] == pytest.approx([scores[hit.record.id] for hit in hits], abs=0.01)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    if hits:
        assert scores[hits[0].record.id] >= max(scores.values()) - 0.01
    assert [hit.record for hit in index.search(query, 3, condition)] == [hit.record for hit in hits[:3]]


def add(index: BinaryIndex, kind: Kind, changed: State) -> None:
    vectors = [vector(number, revision, kind.dimension) for number, revision in changed.items()]
    index.add([record(number, revision) for number, revision in changed.items()], vectors)


def test_it_is_read(name: str, folder: Path) -> None:
    kind = KINDS[name]
    with BinaryIndex.open(folder, contract=kind.contract) as index:
        check(index, kind, kind.state)
        info = index.info()
        assert info["vectors"] == ("none" if kind.bits_only else "int8")
        assert info["search"]["calibrated"] == (("calibrate", None) in kind.steps)
        assert info["plan"].startswith(f"{kind.lists} lists" if kind.lists else "flat")


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.died], indirect=True)
def test_reading_changes_no_byte(name: str, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with BinaryIndex.open(folder) as index:
        check(index, KINDS[name], KINDS[name].state)
        index.search_batch(np.array([vector(1, 1, KINDS[name].dimension)]), 3)
        assert len(list(index.iterate(7))) > 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_it_is_changed_and_opened_again(name: str, folder: Path) -> None:
    """Added to, replaced in, deleted from by id and by filter, before a compaction and after it."""
    kind = KINDS[name]
    state = kind.state
    for revision, compacts in ((8, False), (9, True), (10, False)):
        with BinaryIndex.open(folder, options={"nlist": 3} if kind.lists else None) as index:
            present = list(state)
            changed = {
                present[0]: revision,
                present[-1]: revision,
                **rows(100 * revision, 100 * revision + 5, revision),
            }
            add(index, kind, changed)
            state |= changed
            assert index.delete([f"id {present[1]}", f"id {present[2]}", "no such id"]) == 2
            gone = [number for number in state if number % 7 == 3 and number % 3 == 2]
            assert index.delete(filter={"tags": 3, "color": "蓝"}) == len(gone)
            state = {n: r for n, r in state.items() if n not in (present[1], present[2], *gone)}
            check(index, kind, state)
            if compacts:
                index.compact()
                check(index, kind, state)
        with BinaryIndex.open(folder, contract=kind.contract) as index:
            check(index, kind, state)


def test_it_is_compacted_first_of_all(name: str, folder: Path) -> None:
    kind = KINDS[name]
    with BinaryIndex.open(folder) as index:
        index.compact()
        check(index, kind, kind.state)
        assert index.info()["deleted"] == index.info()["unlisted"] == 0
    with BinaryIndex.open(folder) as index:
        check(index, kind, kind.state)
        index.calibrate(0.9, sample=5)
        add(index, kind, rows(90, 95))
        check(index, kind, kind.state | rows(90, 95))


def test_it_is_merged(name: str, folder: Path, tmp_path: Path) -> None:
    kind = KINDS[name]
    options = FaissOptions(vectors="none" if kind.bits_only else "auto", nlist=kind.lists)
    with BinaryIndex.create(tmp_path / "new", kind.contract, options=options) as index:
        add(index, kind, rows(0, 3, 7) | rows(200, 205))
        with BinaryIndex.open(folder) as old:
            index.merge(old)
            check(old, kind, kind.state)
            old.merge(index)
            check(old, kind, rows(0, 3, 7) | rows(200, 205) | kind.state)
        check(index, kind, rows(0, 3, 7) | rows(200, 205) | kind.state)
