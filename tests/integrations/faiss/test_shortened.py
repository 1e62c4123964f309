"""A file of a compacted index is cut while the index is open: no use of it ends the process, or finds zeros there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .shortening import FILES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "win32", reason="needs fork")


def check(base: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "tests.integrations.faiss.shortening", str(base), *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    *wrong, last = done.stdout.splitlines() or [""]
    assert (done.returncode, last.split(" ")[0]) == (0, "done"), done.stdout
    assert int(last.split(" ")[1]) > 20
    assert not wrong, "\n".join(wrong)


def test_half_of_a_file(tmp_path: Path) -> None:
    check(tmp_path, "order.1.int64,codes.1.faiss", "some", "searched")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_size_at_any_moment(tmp_path: Path, name: str) -> None:
    """Cut before the first search, after it, or when the object has written."""
    check(tmp_path, name, "all", "opened,searched,written")
