"""What belongs to one process: its cores, and values that do not survive a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from jinavec.process import PerProcess, cores


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_that_are_taken_away_do_not_count() -> None:
    script = (
        "import os, jinavec.process as p; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(p.cores())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_value_is_made_once_by_many_threads() -> None:
    made: list[object] = []
    start = threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    value = PerProcess(make)
    got: list[object] = []

    def get() -> None:
        start.wait()
        got.append(value.get())

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == made * 8


def test_a_value_that_was_taken_is_made_anew() -> None:
    value = PerProcess(object)
    assert value.take() is None
    first = value.get()
    assert value.take() is first and value.take() is None
    assert value.get() is not first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_its_own() -> None:
    script = """
import os
from jinavec.process import PerProcess
value = PerProcess(os.getpid)
parent = value.get()
child = os.fork()
assert value.get() == os.getpid()
if child:
    assert value.get() == parent and os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
