"""An index that may only be read."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, add
from .conftest import Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights work otherwise")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An index that another user can reach, with one record replaced."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    with BinaryIndex.create(base / "index", CONTRACT) as index:
        add(index, {str(id): 1 for id in range(30)})
        add(index, {"3": 2})
    yield base / "index"
    subprocess.run(["chmod", "-R", "u+w", base], check=True)
    shutil.rmtree(base)


def protect(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def test_a_closed_index_can_be_read(folder: Path, start: Start) -> None:
    protect(folder)
    output, _ = start("read_only", folder, 30).communicate()
    assert output == "done\n"


def test_an_index_can_be_read_that_its_owner_is_writing(folder: Path, start: Start) -> None:
    with BinaryIndex.open(folder) as index:
        add(index, {"100": 1})
        folder.chmod(0o555)
        if os.getuid() != 0:
            pytest.skip("needs a second user")
        output, _ = start("read_only", folder, 31).communicate()
    assert output == "done\n"


def test_an_index_can_be_read_whose_writer_died(folder: Path, start: Start) -> None:
    process = start("keep_open", folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    assert (folder / "records.sqlite-wal").stat().st_size > 0
    protect(folder)
    output, _ = start("read_only", folder, 30).communicate()
    assert output == "done\n"
