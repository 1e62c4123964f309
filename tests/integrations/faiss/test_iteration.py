"""``iterate`` and ``delete(filter=)``: every record once, whatever is written and compacted meanwhile."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Page, Record
from jinavec.errors import EngineError, InvalidInput
from jinavec.filters import match, parse_filter
from jinavec_integrations.faiss import BinaryIndex
from jinavec_integrations.faiss.storage.records import Transaction

from .child import CONTRACT, add, deleted, state_of, vector

FILTERS: list[Any] = [None, {"revision": 2}, {"revision": {"ne": 2}}, {"not": {"revision": {"gt": 0}}}]
SHAPES: dict[str, dict[str, Any]] = {"flat": {}, "lists": {"nlist": 6}, "bits": {"vectors": "none"}}


@pytest.fixture(scope="module", params=SHAPES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinaryIndex]:
    """200 records: of a first and a second revision, before and after a compaction, with holes between them."""
    folder = tmp_path_factory.mktemp("iteration") / "index"
    with BinaryIndex.create(folder, CONTRACT, options=SHAPES[request.param]) as index:
        add(index, {str(id): 1 for id in range(220)})
        index.delete(deleted(3))
        index.compact()
        add(index, {str(id): 2 for id in range(0, 60, 2)})
        yield index


@pytest.fixture
def filled(shared: BinaryIndex, tmp_path: Path) -> Iterator[BinaryIndex]:
    """A copy to be changed."""
    with BinaryIndex.open(shutil.copytree(shared.folder, tmp_path / "index"), options=shared.options) as index:
        yield index


def records_of(pages: Iterable[Page]) -> list[Record]:
    return [record for page in pages for record in page]


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("size", [1, 7, 1000, 2**63])
def test_pages_hold_every_record_that_matches_with_its_vector(shared: BinaryIndex, size: int, filter: Any) -> None:
    wanted = [record for record in shared.get(shared.ids()) if match(parse_filter(filter or {}), record.metadata)]
    pages = list(shared.iterate(size, vectors=True, filter=filter))
    assert records_of(pages) == wanted
    assert all(1 <= len(page) <= size for page in pages)
    stored = shared.vectors(shared.ids())
    for page in pages:
        assert page.vectors is not None and page.vectors.dtype == np.float32
        np.testing.assert_array_equal(page.vectors, [stored[record.id] for record in page])


@pytest.mark.parametrize("filter", FILTERS)
def test_another_object_goes_on_behind_any_page(shared: BinaryIndex, filter: Any) -> None:
    whole = records_of(shared.iterate(filter=filter))
    read: list[Record] = []
    with BinaryIndex.open(shared.folder) as other:
        for page in shared.iterate(30, filter=filter):
            read += page
            assert read + records_of(other.iterate(41, filter=filter, after=page.cursor)) == whole
    assert read == whole


@pytest.mark.parametrize("after", ["", "x", "-7", "1-3", "1 ", "٣", "9" * 40])
def test_a_cursor_that_no_page_had(index: BinaryIndex, after: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        list(index.iterate(after=after))


@pytest.mark.parametrize("filter", [None, {"revision": {"lt": 9}}])
@pytest.mark.parametrize(
    "seed", [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("resumes", [False, True])
def test_what_stays_comes_once_whatever_is_written(filled: BinaryIndex, seed: int, filter: Any, resumes: bool) -> None:
    """Additions, replacements, deletions and compactions between the pages that another object reads."""
    dice, before = random.Random(seed), state_of(filled)
    stayed, there, seen = set(before), set(before), list[Record]()
    with BinaryIndex.open(filled.folder) as reader:
        pages = reader.iterate(dice.randint(5, 40), vectors=True, filter=filter)
        while len(seen) < 2000 and (page := next(pages, None)) is not None:
            seen += page
            if resumes and dice.random() < 0.5:
                pages = reader.iterate(dice.randint(5, 40), vectors=True, filter=filter, after=page.cursor)
            assert page.vectors is not None
            for record, stored in zip(page, page.vectors, strict=True):
                assert stored @ vector(record.id, record.metadata["revision"]) > 0.6
            changed = [str(dice.randrange(260)) for _ in range(10)]
            if dice.random() < 0.3:
                filled.compact()
            elif dice.random() < 0.5:
                filled.delete(changed)
                stayed -= set(changed)
                there -= set(changed)
            else:
                add(filled, dict.fromkeys(changed, 3))
                stayed -= set(changed)
    ids = [record.id for record in seen]
    assert all(ids.count(id) == 1 for id in (stayed if resumes else ids))
    assert there <= set(ids)  # what was replaced and never gone, too
    assert {record.id: record.metadata["revision"] for record in seen if record.id in stayed} == {
        id: before[id] for id in stayed
    }


def test_an_iteration_holds_no_log_between_its_pages(index: BinaryIndex) -> None:
    add(index, {str(id): 1 for id in range(50)})
    pages = index.iterate(10)
    next(pages)
    add(index, {str(id): 2 for id in range(200)})
    with closing(sqlite3.connect(index.folder / "records.sqlite")) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert sorted(record.id for record in records_of(pages)) == sorted(str(id) for id in range(10, 200))


def test_an_index_that_is_closed_meanwhile(index: BinaryIndex) -> None:
    add(index, {str(id): 1 for id in range(50)})
    pages = index.iterate(10)
    next(pages)
    index.close()
    with pytest.raises(EngineError, match="closed"):
        next(pages)


# delete by filter


@pytest.mark.parametrize("filter", FILTERS[1:])
def test_deleting_by_a_filter(filled: BinaryIndex, filter: Any) -> None:
    before = state_of(filled)
    gone = {id for id, revision in before.items() if match(parse_filter(filter), {"revision": revision})}
    assert filled.delete(filter=filter) == len(gone)
    assert state_of(filled) == {id: revision for id, revision in before.items() if id not in gone}
    assert filled.count() == len(before) - len(gone)
    assert filled.delete(filter=filter) == 0
    filled.verify()


def test_deleting_by_a_filter_is_atomic(index: BinaryIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    add(index, {str(id): 1 for id in range(30)})
    delete, calls = Transaction.delete_docids, list[int]()

    def failing(transaction: Transaction, docids: list[int]) -> int:
        calls.append(len(docids))
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return delete(transaction, docids)

    monkeypatch.setattr("jinavec_integrations.faiss.index._BLOCK", 10)
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "delete_docids", failing)
        with pytest.raises(EngineError, match="the disk is gone"):
            index.delete(filter={"revision": 1})
    assert calls == [10, 10, 10]
    assert index.count() == len(state_of(index)) == 30
    assert index.delete(filter={"revision": 1}) == 30
