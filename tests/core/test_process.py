"""What belongs to one process: its cores, its memory, and values that do not survive a fork."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jinavec.process import BACKGROUND, PerProcess, cores, free_memory, give_way, has_amx


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_that_are_taken_away_do_not_count() -> None:
    script = (
        "import os, jinavec.process as p; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(p.cores())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_thread_that_gives_way_and_those_it_starts_do_so_alone() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def asked_of_another() -> int:
        with ThreadPoolExecutor(1) as other:
            return other.submit(niceness).result()

    before = niceness()
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(niceness).result() == pool.submit(asked_of_another).result() == min(19, before + BACKGROUND)
    assert niceness() == asked_of_another() == before


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


@pytest.mark.parametrize(
    ("most", "current", "free"),
    [(None, 0, 8_192_000), ("max", 0, 8_192_000), ("5000000", 3_000_000, 2_400_000), ("5000000", 6_000_000, 0)],
)
def test_free_memory_is_what_system_and_container_leave(
    tmp_path: Path, most: str | None, current: int, free: int
) -> None:
    """What the container's files take in the page cache can be dropped, and is free."""
    system, group = tmp_path / "proc", tmp_path / "sys" / "fs" / "cgroup"
    system.mkdir()
    (system / "meminfo").write_text("MemTotal: 16000 kB\nMemAvailable:    8000 kB\nHugePages_Total:       0\n")
    group.mkdir(parents=True)
    if most is not None:
        (group / "memory.max").write_text(f"{most}\n")
        (group / "memory.current").write_text(f"{current}\n")
        (group / "memory.stat").write_text("anon 7\ninactive_file 400000\nactive_file 9\n")
    assert free_memory(tmp_path) == free


def test_free_memory_of_this_machine(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
    free = free_memory()
    assert free is None or 0 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not shutil.which("lscpu"), reason="nobody else to ask")
def test_the_processor_is_asked_for_amx() -> None:
    assert has_amx() == ("amx_bf16" in subprocess.run(["lscpu"], capture_output=True, text=True).stdout)
