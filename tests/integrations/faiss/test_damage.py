"""A damaged folder gives an error, never a crash of the process."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinavec.errors import EngineError, IndexDamaged, IndexNotFound
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, State, add, state_of, vector

FILES = ("manifest.json", "codes.faiss", "vectors.int8", "records.sqlite")
STATE: State = {str(id): 1 for id in range(300)}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "index"
    with BinaryIndex.create(folder, CONTRACT) as index:
        add(index, STATE, "some text " * 20)
        index.delete("0")
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "index")


USES: list[Callable[[BinaryIndex], object]] = [
    lambda index: index.info(),
    lambda index: index.search(vector("5", 1), 10),
    lambda index: index.search(vector("5", 1), 400, {"revision": {"lte": 1}}),
    lambda index: index.search(vector("5", 1), 400, {"not": {"revision": 2}}),
    lambda index: index.get([str(id) for id in range(300)]),
    lambda index: add(index, {"1": 2, "4": 2, "1000": 2}),
    lambda index: index.delete(["2", "5", "1000"]),
    lambda index: index.search(vector("1", 2), 3),
]


def errors(folder: Path) -> list[EngineError]:
    """Do everything that an index can do, and return what it finds wrong; other errors are not allowed."""
    found: list[EngineError] = []
    try:
        with BinaryIndex.open(folder) as index:
            for use in USES:
                try:
                    use(index)
                except EngineError as error:
                    found.append(error)
    except EngineError as error:
        found.append(error)
    return found


def test_a_sound_index_has_no_errors(folder: Path) -> None:
    assert errors(folder) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(IndexDamaged, match=name):
        BinaryIndex.open(folder)


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(IndexDamaged, match=name):
        BinaryIndex.open(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", range(5))
def test_a_truncated_file(folder: Path, name: str, seed: int) -> None:
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(1, len(content))])
    with pytest.raises(IndexDamaged, match=name):
        BinaryIndex.open(folder)


@pytest.mark.parametrize("name", ("codes.faiss", "vectors.int8"))
def test_the_message_names_the_sizes(folder: Path, name: str) -> None:
    path = folder / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IndexDamaged, match=f"{name} is truncated: {size - 1} bytes, {size} are needed"):
        BinaryIndex.open(folder)


@pytest.mark.parametrize("name", ("codes.faiss", "vectors.int8"))
def test_a_file_that_is_cut_while_the_index_is_open(folder: Path, name: str) -> None:
    with BinaryIndex.open(folder) as index:
        assert len(state_of(index)) == 299
        with (folder / name).open("r+b") as file:
            file.truncate(100)
        if name == "vectors.int8":  # so few records are scored without looking at the codes
            with pytest.raises(IndexDamaged, match=name):
                index.search(vector("1", 1))
    with pytest.raises(IndexDamaged, match=name):
        BinaryIndex.open(folder)


@pytest.mark.parametrize("name", ("codes.faiss", "vectors.int8"))
def test_a_file_of_another_index(folder: Path, tmp_path: Path, name: str) -> None:
    with BinaryIndex.create(tmp_path / "other", dataclasses.replace(CONTRACT, dimension=64)) as other:
        add(other, STATE)
    shutil.copy(tmp_path / "other" / name, folder / name)
    with pytest.raises(IndexDamaged, match=name):
        BinaryIndex.open(folder)


@given(data=st.data())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    """What is read may be wrong, where no checksum covers it; but it is read, or an error is raised."""
    name = data.draw(st.sampled_from(FILES))
    content = bytearray((sound / name).read_bytes())
    reach = st.integers(0, min(len(content), data.draw(st.sampled_from([100, 5000, len(content)]))) - 1)
    for position in data.draw(st.lists(reach, min_size=1, max_size=8)):
        content[position] ^= data.draw(st.integers(1, 255))
    folder = tmp_path / "index"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    (folder / name).write_bytes(content)
    errors(folder)


def test_every_byte_of_the_manifest_counts(folder: Path) -> None:
    path = folder / "manifest.json"
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            same = json.loads(changed) == json.loads(content)  # a line break may become another blank
        except ValueError:
            same = False
        if not same:
            with pytest.raises(EngineError):
                BinaryIndex.open(folder)


@pytest.mark.parametrize(
    "content",
    ["[]", "null", "{}", "3", '{"format": "other"}', "[" * 100_000, '{"format": "jinavec-faiss"}', "1" * 5000],
)
def test_a_manifest_that_is_none(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(IndexDamaged, match="manifest.json"):
        BinaryIndex.open(folder)


def test_a_newer_format(folder: Path) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": 5, "something": "new"}))
    with pytest.raises(EngineError, match="format version 5.*upgrade"):
        BinaryIndex.open(folder)


@pytest.mark.parametrize("name", ["records.sqlite", "manifest.json"])
def test_a_file_of_another_index_of_the_same_shape(folder: Path, tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    with BinaryIndex.create(other, CONTRACT) as index:
        add(index, STATE, "other text " * 20)
        index.delete("0")
    shutil.copy(other / name, folder / name)
    with pytest.raises(IndexDamaged, match="another index"):
        BinaryIndex.open(folder)


STATEMENTS = [
    "UPDATE state SET rows = 10000000000",
    "UPDATE state SET rows = -1",
    "UPDATE state SET rows = 'many'",
    "UPDATE state SET rows = 100",
    "UPDATE state SET deleted = 1000",
    "UPDATE state SET deleted = NULL",
    "DELETE FROM state",
    "DROP TABLE state",
    "DROP TABLE records",
    "DROP TABLE fields",
    "DROP TABLE dead",
    "DELETE FROM records",
    "UPDATE records SET metadata = '{' WHERE row = 5",
    "UPDATE records SET metadata = '[1]' WHERE row = 5",
    "UPDATE records SET metadata = x'ff' WHERE row = 5",
    "UPDATE records SET id = '' WHERE row = 5",
    "UPDATE records SET id = x'00' WHERE row = 5",
    "UPDATE records SET text = x'00' WHERE row = 5",
    "UPDATE records SET text = CAST(x'ff' AS TEXT) WHERE row = 5",
    "INSERT INTO fields VALUES ('revision', 'big', 'no number', 3)",
    "CREATE TRIGGER t AFTER INSERT ON records BEGIN SELECT load_extension('x'); END",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_records_that_make_no_sense(folder: Path, statement: str) -> None:
    _change(folder / "records.sqlite", statement)
    found = errors(folder)
    assert found
    assert all("records.sqlite" in str(error) or "codes.faiss" in str(error) for error in found)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO dead (row) VALUES (-1), (100000)",
        "UPDATE fields SET row = row + 100000",
        "UPDATE fields SET row = -row - 1",
        "UPDATE fields SET row = 'x' || row",
    ],
)
def test_rows_that_are_none(folder: Path, statement: str) -> None:
    _change(folder / "records.sqlite", statement)
    assert all(isinstance(error, IndexDamaged) for error in errors(folder))


def _change(database: Path, statement: str) -> None:
    """Change a database behind the back of its constraints."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'state'")
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(statement)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match="no index at"):
        BinaryIndex.open(tmp_path / "index")
    with pytest.raises(IndexNotFound, match="no index at"):
        BinaryIndex.open(tmp_path)


def test_something_else_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(IndexDamaged, match="is not a jinavec index"):
            BinaryIndex.open(path)
        with pytest.raises(EngineError):
            BinaryIndex.create(path, CONTRACT)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_faiss_refuses_the_same_files_without_us(folder: Path) -> None:
    (folder / "codes.faiss").write_bytes((folder / "codes.faiss").read_bytes()[:-5])
    with pytest.raises(RuntimeError):
        import_module("faiss").read_index_binary(str(folder / "codes.faiss"))
