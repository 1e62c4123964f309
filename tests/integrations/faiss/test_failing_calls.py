"""Any system call of any action fails once, or from then on: nothing acknowledged is lost, nothing refused is there.

The object goes on once the cause is gone; the folder is whole for whoever opens it, also after the process was killed.
Only where the commit itself failed may either state be there, and then the message says that it is unknown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .failing import ACTIONS, FAILURES

ROOT = Path(__file__).parents[3]
STEP = 1 if os.environ.get("JINAVEC_EVERY_CALL") else 5
"""Each so many calls one fails, with one of the endings; of 1, every call and every ending."""
SYNCING = [name for name in FAILURES if name.endswith("syncing")]
LOCKING = ["ENOLCK from then on"]
OTHERS = [name for name in FAILURES if name not in SYNCING + LOCKING]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls fail by a library that is preloaded")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = tmp_path_factory.mktemp("library") / "failing_calls.so"
    source = ROOT / "tests" / "support" / "failing_calls.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


def check(library: Path, folder: Path, action: str, step: int, failures: list[str]) -> None:
    """Let calls of an action fail in a process of its own, which says what went wrong."""
    command = [sys.executable, "-m", "tests.integrations.faiss.failing", str(folder), action, str(step), *failures]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "LD_PRELOAD": str(library)}, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, f"ended by {done.returncode} after {done.stdout}"
    lines = done.stdout.splitlines()
    ended = [line for line in lines if line.startswith("done ")]
    assert len(ended) == len(failures)
    assert any(line != "done 0" for line in ended), "no call ever failed"
    wrong = [line for line in lines if line not in ended]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("action", ["add again", "delete again"])
def test_a_commit_that_cannot_be_flushed(library: Path, tmp_path: Path, action: str) -> None:
    check(library, tmp_path, action, 1, SYNCING)


def test_what_may_still_count_is_kept_when_the_next_write_fails(library: Path, tmp_path: Path) -> None:
    check(library, tmp_path, "delete after an unknown outcome", 1, ["EIO", "ENOSPC"])


@pytest.mark.slow
@pytest.mark.parametrize("action", [name for name in ACTIONS if name not in ("search", "open")])
def test_nothing_that_is_flushed_can_be(library: Path, tmp_path: Path, action: str) -> None:
    check(library, tmp_path, action, 1, SYNCING)


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_a_call_fails(library: Path, tmp_path: Path, action: str) -> None:
    check(library, tmp_path, action, STEP, OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["add", "delete again", "open"])
def test_locks_are_not_available(library: Path, tmp_path: Path, action: str) -> None:
    """From the first one on: as on a network file system whose lock service is down."""
    check(library, tmp_path, action, 10_000, LOCKING)
