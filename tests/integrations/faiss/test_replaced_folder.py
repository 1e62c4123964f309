"""Something else is where an index is open: nothing of it is read or written, and the error says to reopen."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from jinavec import Record
from jinavec.errors import EngineError
from jinavec_integrations.faiss import BinaryIndex

from .child import State, add, check_vectors, state_of, vector
from .replacing import ADDED, LAST, WAYS, WRITTEN, check_folder, open_writer, templates

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="what is open cannot be replaced")


def merge(index: BinaryIndex) -> object:
    with BinaryIndex.open(index.folder.with_name("other")) as other:
        return index.merge(other)


CHANGES: dict[str, Callable[[BinaryIndex], object]] = {
    "add": lambda index: add(index, {"1": 9, "200": 9}),
    "delete": lambda index: index.delete(["5", "7"]),
    "delete by filter": lambda index: index.delete(filter={"revision": {"gte": 1}}),
    "compact": lambda index: index.compact(),
    "merge": merge,
    "calibrate": lambda index: index.calibrate(0.5, sample=2),
    "ingest": lambda index: index.ingest([Record("1", "9", {"revision": 9})], [vector("1", 9)]),
    "optimize": lambda index: index.optimize(),
}
READS: list[Callable[[BinaryIndex], object]] = [
    lambda index: index.search(vector("5", 1), 3),
    lambda index: index.search(vector("5", 1), 3, {"revision": {"lt": 40}}),
    lambda index: index.search_batch([vector("5", 1)], 3),
    lambda index: index.get(["5"]),
    lambda index: index.count(),
    lambda index: index.ids(),
    lambda index: index.vectors(["5"]),
    lambda index: list(index.iterate()),
    lambda index: index.verify(),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("made")
    templates(base)
    return base


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "base")


def contents(folder: Path) -> dict[str, bytes | int]:
    """Every byte in a folder, but for the map of SQLite's log, and a log without content.

    The lock is only measured: a process that opens and closes a file loses all its locks on it.
    """
    found: dict[str, bytes | int] = {}
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.name == "lock.sqlite":
            found[path.name] = path.stat().st_size
        elif not path.name.endswith("-shm") and not (path.name.endswith("-wal") and not path.stat().st_size):
            found[path.name] = path.read_bytes()
    return found


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(
            name, change, marks=[] if name == "exchanged" or change in ("add", "compact") else pytest.mark.slow
        )
        for name in WAYS
        for change in CHANGES
    ],
)
def test_nothing_is_changed(base: Path, name: str, change: str) -> None:
    way = WAYS[name]
    with open_writer(base, way) as index:
        way.replace(base)
        before = contents(base / "live")
        with pytest.raises(EngineError, match="reopen"):
            CHANGES[change](index)
        assert contents(base / "live") == before
        if way.moves:
            with BinaryIndex.open(base / "away") as moved:
                assert state_of(moved) == LAST
                moved.verify()
    assert contents(base / "live") == before
    assert (base / "live").exists() == (way.result is not None)
    if way.result is not None:
        check_folder(base / "live", way.result)
    if way.moves:
        check_folder(base / "away", LAST)


@pytest.mark.parametrize("name", WAYS)
def test_it_stays_refused(base: Path, name: str) -> None:
    """Whatever was tried before, and as often as it is tried."""
    way = WAYS[name]
    with open_writer(base, way) as index:
        way.replace(base)
        before = contents(base / "live")
        for use in (*READS[:1], *CHANGES.values(), *READS, *CHANGES.values()):
            with pytest.raises(EngineError, match="reopen"):
                use(index)
        assert contents(base / "live") == before
    if way.result is not None:
        check_folder(base / "live", way.result)


@pytest.mark.parametrize("name", WAYS)
def test_nothing_is_read(base: Path, name: str) -> None:
    """By objects that have read before, nor by one that has written."""
    way = WAYS[name]
    with ExitStack() as stack:
        indexes = [stack.enter_context(open_writer(base, way))]
        for _ in READS:
            indexes.append(stack.enter_context(BinaryIndex.open(base / "live")))
            assert state_of(indexes[-1]) == LAST
        way.replace(base)
        for index, read in zip(indexes, [READS[0], *READS], strict=True):
            with pytest.raises(EngineError, match="reopen"):
                read(index)


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.result is not None and not way.in_place])
def test_closing_takes_nothing_from_the_new_one(base: Path, name: str) -> None:
    """SQLite removes its log by name when it closes: not the log of another index that is being written."""
    way = WAYS[name]
    assert way.result is not None
    expected: State = {**way.result, **ADDED}
    with open_writer(base, way) as old:
        way.replace(base)
        with BinaryIndex.open(base / "live") as new:
            add(new, ADDED)
            old.close()
            assert state_of(new) == expected
            with BinaryIndex.open(base / "live") as reader:
                assert state_of(reader) == expected
            add(new, {"150": 1})
            copied = shutil.copytree(base / "live", base / "as if its writer were killed now")
            with BinaryIndex.open(copied) as later:
                assert state_of(later) == {**expected, "150": 1}
                later.verify()
    if way.moves:
        check_folder(base / "away", LAST)


def goes_on(index: BinaryIndex, base: Path) -> None:
    """Everything works with this object, and is there for the next one."""
    assert state_of(index) == LAST
    add(index, {"1": 9, "200": 9})
    index.delete("5")
    index.compact()
    merge(index)
    expected = {id: revision for id, revision in {**LAST, "200": 9, **ADDED}.items() if id != "5"}
    assert state_of(index) == expected
    index.close()
    with BinaryIndex.open(base / "live") as again:
        assert state_of(again) == expected
        check_vectors(again, expected)
        again.verify()
    check_folder(base / "live", expected)


@pytest.mark.parametrize("what", ["lock.sqlite", "records.sqlite"])
def test_a_folder_that_is_replaced_as_a_database_is_opened(base: Path, what: str) -> None:
    """SQLite opens it by path, a moment after the folder was found to be the right one."""
    way = WAYS["exchanged"]
    connect = sqlite3.connect

    def replace_and_connect(address: str, **arguments: Any) -> sqlite3.Connection:
        if f"/live/{what}" in address and not (base / "away").exists():
            way.replace(base)
        return connect(address, **arguments)

    open_writer(base, way).close()
    with BinaryIndex.open(base / "live") as index:
        before = contents(base / "new")
        with patch.object(sqlite3, "connect", replace_and_connect), pytest.raises(EngineError, match="reopen"):
            add(index, {"1": 9, "200": 9})
        assert contents(base / "live") == before
    assert way.result is not None
    check_folder(base / "live", way.result)
    check_folder(base / "away", LAST)


def test_a_folder_that_comes_back(base: Path) -> None:
    with open_writer(base, WAYS["exchanged"]) as index:
        (base / "live").rename(base / "away")
        for use in (READS[0], *CHANGES.values()):
            with pytest.raises(EngineError, match="reopen"):
                use(index)
        (base / "away").rename(base / "live")
        goes_on(index, base)


def test_a_folder_that_was_away_and_back(base: Path) -> None:
    with open_writer(base, WAYS["exchanged"]) as index:
        (base / "live").rename(base / "away")
        (base / "away").rename(base / "live")
        goes_on(index, base)


def test_a_folder_that_is_reached_by_a_link_now(base: Path) -> None:
    with open_writer(base, WAYS["exchanged"]) as index:
        (base / "live").rename(base / "away")
        (base / "live").symlink_to(base / "away")
        goes_on(index, base)


def test_an_object_that_only_reads_goes_on_beside_a_writer(base: Path) -> None:
    """What another object adds, compacts and calibrates is no replacement."""
    with open_writer(base, WAYS["exchanged"]) as index, BinaryIndex.open(base / "live") as reader:
        state: State = dict(LAST)
        for revision in range(10, 14):
            add(index, {"1": revision, "200": revision})
            state |= {"1": revision, "200": revision}
            assert state_of(reader) == state
            index.compact()
            assert state_of(reader) == state
            index.calibrate(0.5, sample=2)
            assert state_of(reader) == state
            for read in READS:
                read(reader)
        index.close()
        add(reader, WRITTEN)
        assert state_of(reader) == {**state, **WRITTEN}


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_another_process_replaces_it(base: Path, name: str) -> None:
    """And writes to what it put there, while this one holds on to what was there."""
    way, root = WAYS[name], Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.integrations.faiss.replacing", str(base), name]
    with open_writer(base, way) as index, BinaryIndex.open(base / "live") as reader:
        assert state_of(reader) == LAST
        with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "replaced\n"
                before = contents(base / "live")
                for change in CHANGES.values():
                    with pytest.raises(EngineError, match="reopen"):
                        change(index)
                for read in READS:
                    for each in (index, reader):
                        with pytest.raises(EngineError, match="reopen"):
                            read(each)
                assert contents(base / "live") == before
                index.close()
                reader.close()
                output, _ = process.communicate("go on\n")
                assert process.returncode == 0
            finally:
                process.kill()
    if way.result is not None:
        held = way.result if way.in_place else {**way.result, **ADDED, "101": 61}
        assert output == ("" if way.in_place else "done\n")
        check_folder(base / "live", held)
    if way.moves:
        check_folder(base / "away", LAST)
