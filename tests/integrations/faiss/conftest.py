"""Fixtures of the tests of the FAISS engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import child

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[child.BinaryIndex]:
    """An empty index of dimension 12."""
    with child.BinaryIndex.create(tmp_path / "index", child.CONTRACT) as index:
        yield index


@pytest.fixture
def start() -> Iterator[Start]:
    """Start child.py; whatever is still running at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def start_child(what: str, folder: Path, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, child.__file__, what, str(folder), *map(str, arguments)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start_child
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
