"""Many readers, one writer: threads and processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from jinavec import Progress, Record
from jinavec.errors import EngineError, IndexLocked
from jinavec_integrations.faiss import BinaryIndex

from . import child
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

    with ThreadPoolExecutor(2) as pool, BinaryIndex.open(folder, options={"nlist": 6}) as index:
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


def test_two_objects_write_in_turn(index: BinaryIndex) -> None:
    add(index, {"1": 1})
    with BinaryIndex.open(index.folder) as second:
        add(second, {"2": 2})
        add(index, {"3": 3})
        second.delete("1")
        second.compact()
        add(index, {"4": 4})
        assert state_of(second) == state_of(index) == {"2": 2, "3": 3, "4": 4}


@pytest.mark.slow
def test_four_processes_add_at_the_same_time(tmp_path: Path, start: Start) -> None:
    """As the workers of a web server do, one of them compacting now and then."""
    folder = tmp_path / "index"
    BinaryIndex.create(folder, CONTRACT).close()
    workers = [start("add_alongside", folder, number) for number in range(4)]
    assert [worker.communicate()[0] for worker in workers] == ["done\n"] * 4
    with BinaryIndex.open(folder) as index:
        expected: State = {str(1000 * worker + step): step for worker in range(4) for step in range(25)}
        assert state_of(index) == expected
        check_vectors(index, dict(list(expected.items())[::10]))
        index.verify()


def test_who_waits_for_a_writer_too_long_is_told_which(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "index"
    BinaryIndex.create(folder, CONTRACT).close()
    process = start("hold", folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    with BinaryIndex.open(folder, options={"lock_timeout": 0.1}) as index:
        assert state_of(index) == {}
        changes: list[Callable[[], object]] = [
            lambda: add(index, {"2": 2}),
            lambda: index.delete("1"),
            lambda: index.compact(),
        ]
        for change in changes:
            with pytest.raises(IndexLocked, match=f"written by process {process.pid}; waited 0.1 s .*lock_timeout"):
                change()
        process.kill()
        process.wait()
        add(index, {"2": 2})
        assert state_of(index) == {"2": 2}


def test_a_writer_waits_for_another(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "index"
    BinaryIndex.create(folder, CONTRACT).close()
    process = start("hold", folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    with BinaryIndex.open(folder) as index, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(add, index, {"2": 2})
        process.kill()
        waiting.result(timeout=60)
        assert state_of(index) == {"2": 2}


def test_others_write_while_one_compacts(index: BinaryIndex) -> None:
    """Added, replaced and deleted while the rows are moved; then compacted again, in lists."""
    state: State = {str(id): 1 for id in range(300)}
    add(index, state)
    add(index, {str(id): 2 for id in range(0, 300, 7)})
    index.delete([str(id) for id in range(0, 300, 11)])
    with BinaryIndex.open(index.folder, options={"nlist": 4}) as second:
        steps, expected = iter(range(1000)), State()

        def write(event: Progress) -> None:
            number = next(steps)
            add(index, {str(1000 + number): 3, str(number): 4})
            index.delete([str(200 + number)])
            assert second.count() == len(state_of(second))

        for _ in range(2):
            second.compact(write)
            expected = state_of(index)
            assert expected["1000"] == 3 and "200" not in expected
            assert index.info()["plan"] == "4 lists, as asked"
            check_vectors(index, dict(list(expected.items())[::5]))
            index.verify()
        done = next(steps)
    rest = {str(id): 2 if id % 7 == 0 else 1 for id in range(300) if id % 11}
    rest |= {str(1000 + number): 3 for number in range(done)} | {str(number): 4 for number in range(done)}
    assert expected == {id: revision for id, revision in rest.items() if not 200 <= int(id) < 200 + done}
    with BinaryIndex.open(index.folder) as reopened:
        assert state_of(reopened) == expected
        reopened.verify()


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no descriptors")
def test_an_index_that_is_closed_while_it_compacts_touches_no_other_folder(index: BinaryIndex, tmp_path: Path) -> None:
    """The number of its descriptor may be another folder's as soon as it is closed."""
    add(index, {str(id): 1 for id in range(20)})
    with BinaryIndex.create(tmp_path / "other", CONTRACT) as other:
        add(other, {"1": 1})
        other.compact()
        other.compact()
    before, numbers = sorted(os.listdir(tmp_path / "other")), list[int]()

    def close(_: Progress) -> None:
        index.close()
        numbers.extend(os.open(tmp_path / "other", os.O_RDONLY) for _ in range(64 - len(numbers)))

    try:
        with pytest.raises(EngineError, match="is closed"):
            index.compact(close)
        assert sorted(os.listdir(tmp_path / "other")) == before
    finally:
        for number in numbers:
            os.close(number)
    with BinaryIndex.open(index.folder) as reopened:
        assert reopened.count() == 20
        reopened.compact()
        reopened.verify()


def test_two_compactions_run_one_after_the_other(index: BinaryIndex) -> None:
    add(index, {str(id): 1 for id in range(50)})
    with BinaryIndex.open(index.folder, options={"lock_timeout": 0}) as second:

        def compact_too(event: Progress) -> None:
            with pytest.raises(IndexLocked, match="being compacted by another"):
                second.compact()

        index.compact(compact_too)
        second.compact()
    assert state_of(index) == {str(id): 1 for id in range(50)}
    index.verify()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads_and_writes(index: BinaryIndex, start: Start) -> None:
    output, _ = start("fork", index.folder).communicate()
    assert output == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads_on_when_the_first_one_has_closed_the_index(tmp_path: Path, start: Start) -> None:
    BinaryIndex.create(tmp_path / "index", CONTRACT).close()
    output, _ = start("outlive", tmp_path / "index").communicate()
    assert output == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_searches_lists(tmp_path: Path) -> None:
    """The threads that OpenMP had in the first process are not there; it would wait for them for ever."""
    command = [sys.executable, child.__file__, "search_after_fork", str(tmp_path / "index")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, timeout=120, check=True)
    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_process_forked_while_a_thread_writes_does_not_hang(index: BinaryIndex) -> None:
    """It reads and writes, or is told that it cannot."""
    stop = threading.Event()

    def write() -> None:
        for number in count(1):
            add(index, {"1": number})
            if number % 5 == 0:
                index.compact()
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as executor, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of a fork beside threads
        writing = executor.submit(write)
        try:
            for number in range(20):
                if not (process := os.fork()):
                    child.write_and_leave(index, str(100 + number))
                assert os.waitpid(process, 0)[1] == 0
        finally:
            stop.set()
        writing.result(timeout=60)
    index.verify()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_process_forked_where_another_thread_is_about_to_write(index: BinaryIndex) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with vars(index)["_disk"]._writing:
            entered.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as executor, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        holding = executor.submit(hold)
        assert entered.wait(60)
        if not (process := os.fork()):
            child.write_and_leave(index, "7")
        assert os.waitpid(process, 0)[1] == 0
        leave.set()
        holding.result(timeout=60)
    assert state_of(index) == {"7": 1}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list what is open")
def test_a_closed_index_holds_no_files(tmp_path: Path) -> None:
    with BinaryIndex.create(tmp_path / "index", CONTRACT) as first:
        add(first, {"1": 1})
    before = len(os.listdir("/proc/self/fd"))
    closed = [BinaryIndex.open(tmp_path / "index") for _ in range(3)]
    for index in closed:
        assert state_of(index) == {"1": 1}
        index.close()
    assert len(os.listdir("/proc/self/fd")) == before
    with BinaryIndex.create(tmp_path / "other", CONTRACT) as other, pytest.raises(EngineError, match="is closed"):
        closed[0].merge(other)


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
