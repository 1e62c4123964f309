"""Where an index can be made, and what is left where it cannot."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from jinavec import open_engine
from jinavec.errors import EngineError, IndexDamaged, IndexNotFound, InvalidTarget
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, add, check_vectors, state_of


@pytest.mark.parametrize(
    "name", ["index", "deep/er/index", "a b", "what?#%41&mode=ro", "ключ", "it's", ".hidden", "-x", "file:x", "n\nl"]
)
def test_any_name_of_a_folder(tmp_path: Path, name: str) -> None:
    with BinaryIndex.create(tmp_path / name, CONTRACT) as index:
        add(index, {"1": 1})
    with open_engine(f"faiss:{tmp_path / name}") as index:
        assert index.count() == 1
    assert {file.name for file in (tmp_path / name).iterdir()} >= {"manifest.json", "codes.faiss", "vectors.int8"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_not_unicode(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    with BinaryIndex.create(folder, CONTRACT) as index:
        add(index, {"1": 1})
        assert state_of(index) == {"1": 1}


def test_a_path_relative_to_a_folder_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with BinaryIndex.create("index", CONTRACT) as index:
        add(index, {"1": 1})
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        add(index, {"2": 1})
        check_vectors(index, {"1": 1, "2": 1})
    assert (tmp_path / "index" / "manifest.json").exists()


def test_no_path_holds_a_nul() -> None:
    with pytest.raises(InvalidTarget):
        BinaryIndex.open("a\0b")
    with pytest.raises(InvalidTarget):
        BinaryIndex.create("a\0b", CONTRACT)


def test_an_empty_folder_becomes_an_index(tmp_path: Path) -> None:
    inode = tmp_path.stat().st_ino
    with open_engine(f"faiss:{tmp_path}", contract=CONTRACT) as index:
        assert index.count() == 0
    assert tmp_path.stat().st_ino == inode  # it may be a mounted volume: it is filled, not replaced


def test_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    BinaryIndex.create(tmp_path / "link", CONTRACT).close()
    BinaryIndex.open(tmp_path / "real").close()


def test_an_index_is_not_made_over_another(index: BinaryIndex) -> None:
    add(index, {"1": 1})
    with pytest.raises(EngineError, match="already holds an index"):
        BinaryIndex.create(index.folder, CONTRACT)
    assert state_of(index) == {"1": 1}


def test_rows_without_a_manifest_are_not_overwritten(index: BinaryIndex) -> None:
    add(index, {"1": 1})
    index.close()
    (index.folder / "manifest.json").unlink()
    with pytest.raises(EngineError, match="not empty"):
        BinaryIndex.create(index.folder, CONTRACT)
    with pytest.raises(IndexDamaged, match="holds no manifest.json"):
        BinaryIndex.open(index.folder)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "index", tmp_path / ("x" * 300)):
        with pytest.raises(EngineError):
            BinaryIndex.create(path, CONTRACT)
        with pytest.raises(EngineError):
            BinaryIndex.open(path)


def test_a_target_that_is_not_there_is_not_made_without_a_contract(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match="jinavec index.*contract= or encoder="):
        open_engine(f"faiss:{tmp_path / 'index'}")
    assert list(tmp_path.iterdir()) == []


def test_many_open_the_same_new_target_at_once(tmp_path: Path) -> None:
    targets = [f"faiss:{tmp_path / str(number)}" for number in range(5) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(partial(open_engine, contract=CONTRACT), targets))
    assert [index.count() for index in opened] == [0] * 40
    for index in opened:
        index.close()
