"""A disk that fills up: nothing of the batch is stored, and everything goes on once there is space."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jinavec import Contract, ModelProfile
from jinavec.errors import EngineError
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, State, add, state_of
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
