"""Many readers, one writer: threads and processes."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jinavec import Record
from jinavec.errors import IndexLocked
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, State, add, apply, check_vectors, state_after, state_of, vector
from .conftest import Start

STEPS = 51
STATES = [state_after(step) for step in range(STEPS + 1)]


def follow(index: BinaryIndex, step: int) -> int:
    """Return the step whose state the index shows: this one or one of the next, never anything between two."""
    return STATES.index(state_of(index), step)


@pytest.mark.slow
def test_other_processes_read_while_one_writes(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "index"
    BinaryIndex.create(folder, CONTRACT).close()
    process = start("work", folder, 0, STEPS)
    assert process.stdout is not None
    with BinaryIndex.open(folder) as index:
        step = 0
        for acknowledged in range(STEPS):
            assert process.stdout.readline() == f"{acknowledged}\n"
            step = follow(index, max(step, acknowledged + 1))
    assert step == STEPS


@pytest.mark.slow
def test_processes_read_while_this_one_writes_merges_and_compacts(tmp_path: Path, start: Start) -> None:
    """It goes on until each reader has seen a dozen different states, so that they surely overlap."""
    folder = tmp_path / "index"
    BinaryIndex.create(folder, CONTRACT).close()
    readers = [start("read_along", folder) for _ in range(2)]
    seen: list[set[str]] = [set() for _ in readers]

    def follow_reader(number: int) -> None:
        output = readers[number].stdout
        assert output is not None
        for line in output:
            seen[number].add(line.strip())

    with ThreadPoolExecutor(2) as pool, BinaryIndex.open(folder, options={"lists": 6}) as index:
        followers = [pool.submit(follow_reader, number) for number in range(2)]
        step = 0
        while any(len(steps) < 12 for steps in seen) and all(reader.poll() is None for reader in readers):
            apply(index, step)
            step += 1
            time.sleep(0.02)  # or a loaded machine's readers fall behind for good
        index.add([Record("end", "0", {"revision": 0})], [vector("1", 1)])
        for follower in followers:
            follower.result()
    assert [reader.wait() for reader in readers] == [0, 0]
    assert all("done" in steps and len(steps) > 12 for steps in seen)


def test_threads_read_while_one_writes(index: BinaryIndex) -> None:
    written = threading.Event()
    seen: set[int] = set()

    def read(thread: int) -> int:
        step = 0
        while not written.is_set():
            step = follow(index, step)
            seen.add(step)
            hits = index.search(vector("1", thread), 5, {"revision": {"lt": 10}})
            assert all(hit.record.metadata["revision"] < 10 for hit in hits)
        return follow(index, step)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, thread) for thread in range(4)]
        try:
            for number in range(STEPS):
                apply(index, number)
        finally:
            written.set()
        assert [reader.result() for reader in readers] == [STEPS] * 4
    assert len(seen) > 5, "nobody read while the index was written"


def test_threads_may_add_at_the_same_time(index: BinaryIndex) -> None:
    def write(thread: int) -> None:
        for revision in range(10):
            add(index, {str(id): revision for id in range(thread * 10, thread * 10 + 10)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    expected: State = {str(id): 9 for id in range(40)}
    assert state_of(index) == expected
    check_vectors(index, expected)


def test_a_second_writer_is_refused(index: BinaryIndex, start: Start) -> None:
    add(index, {"1": 1})
    with BinaryIndex.open(index.folder) as second:
        for change in (lambda: add(second, {"2": 2}), lambda: second.delete("1")):
            with pytest.raises(IndexLocked, match=str(index.folder)):
                change()
        assert state_of(second) == {"1": 1}
        index.close()
        add(second, {"2": 2})
        assert state_of(second) == {"1": 1, "2": 2}


def test_a_process_that_dies_lets_the_next_one_write(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "index"
    BinaryIndex.create(folder, CONTRACT).close()
    process = start("hold", folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    with BinaryIndex.open(folder) as index:
        assert state_of(index) == {"1": 1}
        with pytest.raises(IndexLocked, match=str(folder)):
            add(index, {"2": 2})
        process.kill()
        process.wait()
        add(index, {"2": 2})
        assert state_of(index) == {"1": 1, "2": 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads_but_does_not_write(index: BinaryIndex, start: Start) -> None:
    output, _ = start("fork", index.folder).communicate()
    assert output == "done\n"


def test_an_index_that_only_reads_does_not_lock(index: BinaryIndex) -> None:
    with BinaryIndex.open(index.folder) as second:
        assert second.count() == 0
        add(index, {"1": 1})
        assert second.count() == 1


def test_a_forgotten_index_lets_go(index: BinaryIndex) -> None:
    forgotten = BinaryIndex.open(index.folder)
    add(forgotten, {"1": 1})
    del forgotten
    if sys.implementation.name == "cpython":
        add(index, {"2": 2})
        assert index.count() == 2
