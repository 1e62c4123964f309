"""A disk that fills up: nothing of the batch is stored, and everything goes on once there is space."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from jinavec import Contract, ModelProfile, Record
from jinavec.errors import EngineError
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

from .child import CONTRACT, State, add, state_of, vector
from .conftest import Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")


@pytest.mark.parametrize(
    ("dimension", "limit", "text"),
    [(1024, 260_000, 1), (12, 260_000, 1), (12, 600_000, 3000), (1024, 51_200 + 4096, 0)],
    ids=["vectors", "records", "texts", "first row too many"],
)
def test_no_file_may_grow(tmp_path: Path, start: Start, dimension: int, limit: int, text: int) -> None:
    folder = tmp_path / "index"
    BinaryIndex.create(folder, Contract.of(ModelProfile(name="tests", width=dimension))).close()
    output, _ = start("fill", folder, limit, text).communicate()
    assert output.startswith("done")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB, where this process may have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize(("dimension", "text"), [(1024, 1), (12, 1000)])
def test_a_full_disk(small_disk: Path, start: Start, dimension: int, text: int) -> None:
    BinaryIndex.create(small_disk / "index", Contract.of(ModelProfile(name="tests", width=dimension))).close()
    (small_disk / "ballast").write_bytes(bytes(400_000))
    output, _ = start("fill", small_disk / "index", 0, text).communicate()
    assert output.startswith("done")


def test_a_full_disk_can_be_read(small_disk: Path) -> None:
    state: State = {"1": 1, "2": 1}
    with BinaryIndex.create(small_disk / "index", CONTRACT) as index:
        add(index, state)
    _fill(small_disk)
    with BinaryIndex.open(small_disk / "index") as index:
        assert state_of(index) == state
        with pytest.raises(EngineError, match="no space left"):
            index.delete("1")
        assert state_of(index) == state
        (small_disk / "ballast").unlink()
        index.delete("1")
        assert state_of(index) == {"2": 1}


def test_a_disk_too_full_for_a_new_index(small_disk: Path) -> None:
    _fill(small_disk)
    folder = small_disk / "index"
    with pytest.raises(EngineError, match="no space left .* no index was made"):
        BinaryIndex.create(folder, CONTRACT)
    assert not folder.exists()
    (small_disk / "ballast").unlink()
    BinaryIndex.create(folder, CONTRACT).close()


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.parametrize("change", ["add", "delete", "compact", "merge", "calibrate", "build"])
def test_every_change_on_a_full_disk(small_disk: Path, tmp_path: Path, change: str) -> None:
    """It is refused with a remedy, the index is as it was and nothing is left behind; then it goes through."""
    state: State = {str(id): 1 for id in range(2000)}
    folder = small_disk / "index"
    with BinaryIndex.create(folder, CONTRACT, options={"nlist": 4}) as index:
        add(index, state)
    with BinaryIndex.create(tmp_path / "other", CONTRACT) as other:
        add(other, {str(id): 2 for id in range(1000, 3000)})
    with BinaryIndex.open(tmp_path / "other") as other, BinaryIndex.open(folder, options={"nlist": 4}) as index:
        actions: dict[str, Callable[[], object]] = {
            "add": lambda: add(index, {str(id): 2 for id in range(1000, 3000)}),
            "delete": lambda: index.delete(map(str, range(1000))),
            "compact": index.compact,
            "merge": lambda: index.merge(other),
            "calibrate": lambda: index.calibrate(0.9, sample=5),
            "build": lambda: build(small_disk / "new"),
        }
        _fill(small_disk)
        before = {path.name: path.stat().st_size for path in folder.iterdir() if path.suffix != ".sqlite-wal"}
        with pytest.raises(EngineError, match="no space left .* free some and try again"):
            actions[change]()
        assert state_of(index) == state
        after = {path.name: path.stat().st_size for path in folder.iterdir()}
        assert all(after[name] == size or "sqlite" in name for name, size in before.items())
        assert {name for name in after if "sqlite" not in name} == {name for name in before if "sqlite" not in name}
        with BinaryIndex.open(folder) as reader:
            assert state_of(reader) == state
            reader.verify()
        (small_disk / "ballast").unlink()
        actions[change]()
        index.verify()
        expected = {
            "add": {**state, **{str(id): 2 for id in range(1000, 3000)}},
            "merge": {**state, **{str(id): 2 for id in range(1000, 3000)}},
            "delete": {str(id): 1 for id in range(1000, 2000)},
        }
        assert state_of(index) == expected.get(change, state)


def build(folder: Path) -> None:
    with BinaryIndexBuilder(folder, contract=CONTRACT, resume=True) as builder:
        builder.add_vectors(np.array([vector(str(id), 1) for id in range(2000)]))
        builder.finish().close()


@pytest.fixture
def read_only_disk(small_disk: Path) -> Iterator[Callable[[bool], None]]:
    def protect(yes: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if yes else 'rw'}", small_disk], check=True)

    yield protect
    protect(False)


def test_every_change_on_a_read_only_disk(
    small_disk: Path, tmp_path: Path, read_only_disk: Callable[[bool], None]
) -> None:
    """Where not even the superuser may write."""
    state: State = {str(id): 1 for id in range(200)}
    folder = small_disk / "index"
    with BinaryIndex.create(folder, CONTRACT) as index, BinaryIndex.create(tmp_path / "other", CONTRACT) as other:
        add(index, state)
        add(other, {"1": 2})
    read_only_disk(True)
    with BinaryIndex.open(folder) as index, BinaryIndex.open(tmp_path / "other") as other:
        assert state_of(index) == state
        index.verify()
        changes: list[Callable[[], object]] = [
            lambda: add(index, {"1": 2}),
            lambda: index.delete("1"),
            index.compact,
            lambda: index.merge(other),
            lambda: index.calibrate(sample=5),
            lambda: build(small_disk / "new"),
            lambda: BinaryIndexBuilder(folder, contract=CONTRACT, resume=True).add([Record("1")], [vector("1", 2)]),
        ]
        for change in changes:
            with pytest.raises(EngineError, match="[Rr]ead-only"):
                change()
        assert state_of(index) == state
        other.merge(index)
        assert other.count() == 200
    assert not (small_disk / "new").exists()
