"""Actions on an index, in each of which one system call after the other fails; a process of its own runs this.

``python -m tests.integrations.faiss.failing FOLDER ACTION STEP FAILURE...`` prints a line for each thing that went
wrong, and after each failure at how many calls it came. ``tests/support/failing_calls.c`` must be preloaded.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from jinavec import Record
from jinavec.errors import EngineError, IndexDamaged, IndexLocked, IndexNotFound
from jinavec.vectors import Float32
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

from .child import CONTRACT, State, add, check_vectors, say, state_of, vector

OPEN, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, MKDIR, LOCK, MAP, READ = (2**bit for bit in range(10))
HALF, ON = 2**16, 2**17
_PATIENCE = 180
"""Seconds after which an action hangs; what is slow takes a hundredth of it."""


@dataclass(frozen=True)
class Failure:
    """What goes wrong: an error of the system, at which calls."""

    number: int
    calls: int


FAILURES = {
    "EIO": Failure(errno.EIO, OPEN | WRITE | SYNC | TRUNCATE | RENAME | UNLINK | READ),
    "ENOSPC": Failure(errno.ENOSPC, WRITE | SYNC | TRUNCATE | RENAME | MKDIR),
    "EMFILE": Failure(errno.EMFILE, OPEN),
    "EACCES": Failure(errno.EACCES, OPEN | RENAME | UNLINK | MKDIR | LOCK),
    "ENOLCK": Failure(errno.ENOLCK, LOCK),
    "ENOMEM": Failure(errno.ENOMEM, MAP),
    "short": Failure(errno.ENOSPC, WRITE | HALF),
    "EIO from then on": Failure(errno.EIO, OPEN | WRITE | SYNC | TRUNCATE | RENAME | UNLINK | READ | ON),
    "ENOSPC from then on": Failure(errno.ENOSPC, WRITE | SYNC | TRUNCATE | RENAME | MKDIR | ON),
    "EMFILE from then on": Failure(errno.EMFILE, OPEN | ON),
    "EIO syncing": Failure(errno.EIO, SYNC),
    "ENOSPC syncing": Failure(errno.ENOSPC, SYNC),
    "ENOLCK from then on": Failure(errno.ENOLCK, LOCK | ON),
}

BEFORE: State = {"1": 1, "2": 1, "3": 1, "4": 1, "5": 1}
ADDED: State = {"2": 2, "6": 2, "7": 2}
AFTER: State = {**BEFORE, **ADDED}
States = tuple["State | None", ...]
"""What may be there; None: no index."""


@dataclass(frozen=True)
class Action:
    """Something that is done to an index, and may be repeated."""

    prepare: Callable[[Path], Any]
    """Opens what it is done with, before any call fails."""
    do: Callable[[Any], object]
    after: State | None
    before: States = (BEFORE,)
    """Where it is refused, this is left, or one of these."""
    template: str = "lists"
    goes_on: bool = True
    """Whether what it is done with can be used again."""


def opened(folder: Path) -> BinaryIndex:
    return BinaryIndex.open(folder, options={"nlist": 2})


def writing(folder: Path) -> BinaryIndex:
    """An index that has been written to already."""
    index = opened(folder)
    index.delete("no such id")
    return index


def written(folder: Path) -> BinaryIndex:
    """An index whose last addition is in SQLite's log only."""
    index = opened(folder)
    add(index, ADDED)
    return index


def unflushed(folder: Path) -> BinaryIndex:
    """An index whose last addition counts or not: its COMMIT is in the log, but could not be flushed."""
    index = opened(folder)
    add(index, {"6": 1})  # the next one goes behind it in the log
    add_again = partial(add, index, {"6": 2})
    assert Shim(folder).attempt(add_again, 3, FAILURES["EIO syncing"]).is_unknown  # codes and vectors are flushed
    return index


def given(revisions: State) -> tuple[list[Record], list[Float32]]:
    records = [Record(id, str(revision), {"revision": revision}) for id, revision in revisions.items()]
    return records, [vector(id, revision) for id, revision in revisions.items()]


def build(builder: BinaryIndexBuilder) -> None:
    builder.add(*given(AFTER))
    builder.finish().close()


def merge(index: BinaryIndex) -> None:
    with BinaryIndex.open(index.folder.with_name("other")) as other:
        index.merge(other)


def search(index: BinaryIndex) -> None:
    assert state_of(index) == BEFORE
    assert index.get(["1"]) == given({"1": 1})[0]
    assert [len(page.records) for page in index.iterate(4, vectors=True)] == [4, 1]


def open_and_search(folder: Path) -> None:
    with BinaryIndex.open(folder) as index:
        search(index)


DELETED: State = {"1": 1, "4": 1, "5": 1}
ACTIONS = {
    "add": Action(opened, lambda index: add(index, ADDED), AFTER),
    "add again": Action(writing, lambda index: add(index, ADDED), AFTER),
    "delete": Action(opened, lambda index: index.delete(["2", "3"]), DELETED),
    "delete again": Action(writing, lambda index: index.delete(["2", "3"]), DELETED),
    "delete by filter": Action(writing, lambda index: index.delete(filter={"revision": 1}), {}),
    "delete after an unknown outcome": Action(
        unflushed,
        lambda index: index.delete(["2", "3"]),
        {**DELETED, "6": 1},
        ({**BEFORE, "6": 1}, {**BEFORE, "6": 2}),
    ),
    "compact": Action(opened, lambda index: index.compact(), BEFORE, template="flat"),
    "compact again": Action(writing, lambda index: index.compact(), BEFORE),
    "merge": Action(opened, merge, AFTER),
    "calibrate": Action(opened, lambda index: index.calibrate(0.5, sample=2), BEFORE),
    "ingest": Action(opened, lambda index: index.ingest(*given(ADDED)), AFTER),
    "create": Action(
        lambda folder: folder, lambda folder: BinaryIndex.create(folder, CONTRACT).close(), {}, (None,), ""
    ),
    "build": Action(
        lambda folder: BinaryIndexBuilder(folder, contract=CONTRACT, options={"nlist": 2}, resume=True),
        build,
        AFTER,
        (None, {}, AFTER),
        "",
    ),
    "open": Action(lambda folder: folder, open_and_search, BEFORE),
    "search": Action(opened, search, BEFORE),
    "close": Action(written, lambda index: index.close(), AFTER, (AFTER,), goes_on=False),
}


@dataclass(frozen=True)
class Outcome:
    """What came of an action."""

    fired: int
    """How many calls failed."""
    told: str
    """The first that did."""
    error: str = ""
    """The classes of what was raised, the most special first."""
    message: str = ""

    @property
    def is_unknown(self) -> bool:
        return "unknown" in self.message or self.is_left

    @property
    def is_left(self) -> bool:
        """Whether what a creation had made could not even be removed."""
        return "was left there" in self.message


def templates(folder: Path) -> None:
    """Make the indexes that are copied: flat; in lists with some rows outside and a dead one; and one to be merged."""
    with BinaryIndex.create(folder / "flat", CONTRACT) as index:
        add(index, {**BEFORE, "9": 1})
        index.delete("9")
    with BinaryIndex.create(folder / "lists", CONTRACT, options={"nlist": 2}) as index:
        add(index, {"1": 1, "2": 1, "3": 7, "8": 1})
        index.delete("8")
        index.compact()
        add(index, {"3": 1, "4": 1, "5": 1, "9": 1})
        index.delete("9")
    with BinaryIndex.create(folder / "other", CONTRACT) as index:
        add(index, ADDED)


class Shim:
    """The preloaded library."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.fault_told.restype = ctypes.c_char_p
        self._library.fault_watch(os.fsencode(folder))

    def attempt(self, action: Callable[[], object], number: int, failure: Failure) -> Outcome:
        """Do something while a call fails."""
        error = None
        self._library.fault_arm(number, failure.number, failure.calls)
        try:
            action()
        except Exception as raised:
            error = raised
        finally:
            self._library.fault_disarm()
        fired, told = self._library.fault_fired(), self._library.fault_told().decode()
        if error is None:
            return Outcome(fired, told)
        return Outcome(fired, told, " ".join(kind.__name__ for kind in type(error).__mro__), str(error))


class Runs:
    """An action, of which call after call fails."""

    def __init__(self, folder: Path, name: str, failure: str) -> None:
        self._action, self._failure, self._folder = ACTIONS[name], FAILURES[failure], folder
        self._copy = folder / "copy"
        self._shim = Shim(self._copy)
        self.outcome = Outcome(0, "")

    def goes_on(self, number: int) -> None:
        """The cause is gone, and the same object repeats the action."""
        action = self._action
        subject = self._prepared()
        try:
            self.outcome = self._shim.attempt(partial(action.do, subject), number, self._failure)
            self._check_error()
            if isinstance(subject, BinaryIndex):
                assert state_of(subject) in self._allowed
            if (
                self.outcome.is_left
                and self._folder.joinpath("copy", "manifest.json").exists()
                and action.before == (None,)
            ):
                return
            if self.outcome.error:
                action.do(subject)
            if isinstance(subject, BinaryIndex):
                assert state_of(subject) == action.after
                subject.verify()
        finally:
            _close(subject)
        self._check_folder((action.after,))

    def reopens(self, number: int) -> None:
        """The object is closed, and the folder opened anew."""
        subject = self._prepared()
        try:
            self.outcome = self._shim.attempt(partial(self._action.do, subject), number, self._failure)
        finally:
            _close(subject)
        self._check_error()
        self._check_folder(self._allowed)

    def is_killed(self, number: int) -> None:
        """The process is killed as soon as it has learned of the failure, and another one opens the folder."""
        self._copied()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(_PATIENCE)
                subject = self._action.prepare(self._copy)
                outcome = self._shim.attempt(partial(self._action.do, subject), number, self._failure)
                os.write(writing, json.dumps(asdict(outcome)).encode())
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(writing)
        with open(reading, "rb") as told:
            content = told.read()
        os.waitpid(child, 0)
        assert content, "it hung, or died by itself"
        self.outcome = Outcome(**json.loads(content))
        self._check_error()
        self._check_folder(self._allowed)

    @property
    def endings(self) -> list[Callable[[int], None]]:
        return [self.is_killed, *([self.goes_on] if self._action.goes_on else []), self.reopens]

    @property
    def _allowed(self) -> States:
        """What may be there after the action."""
        if not self.outcome.error:
            return (self._action.after,)
        return (*self._action.before, self._action.after) if self.outcome.is_unknown else self._action.before

    def _copied(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        if self._action.template:
            shutil.copytree(self._folder / self._action.template, self._copy)

    def _prepared(self) -> Any:
        self._copied()
        return self._action.prepare(self._copy)

    def _check_error(self) -> None:
        """What was raised says what happened."""
        outcome = self.outcome
        if not outcome.error:
            return
        said = f"{outcome.error.split()[0]}: {outcome.message}"
        assert outcome.fired, said
        assert EngineError.__name__ in outcome.error.split(), f"no EngineError: {said}"
        for kind in (IndexDamaged, IndexLocked, IndexNotFound):
            if kind is IndexDamaged and self._may_fail_to_read:
                continue  # SQLite itself tells a page that the disk cannot give as a malformed one
            assert kind.__name__ not in outcome.error.split(), f"told as {said}"
        assert "held by another" not in outcome.message and "someone else" not in outcome.message, said
        if self._failure.number != errno.ENOSPC:
            assert "no space" not in outcome.message, said
        elif "write" in outcome.told and "-shm" not in outcome.told:  # SQLite has one code for all that fails there
            assert "no space left" in outcome.message, said

    @property
    def _may_fail_to_read(self) -> bool:
        """Whether a page of the database could not be read: the call that failed first, or a later one."""
        told = self.outcome.told
        return ("pread" in told and "sqlite" in told) or self._failure.calls & (READ | ON) == READ | ON

    def _check_folder(self, allowed: States) -> None:
        """Whoever opens the folder now finds something that is whole, and can go on with it."""
        try:
            index = BinaryIndex.open(self._copy)
        except IndexNotFound:
            assert None in allowed, "no index is there"
            BinaryIndex.create(self._copy, CONTRACT).close()
            return
        with index:
            state = state_of(index)
            assert state in allowed, f"holds {state}"
            assert index.count() == len(state)
            check_vectors(index, state)
            index.verify()
            add(index, {"1": 7, "10": 7})
            check_vectors(index, state | {"1": 7, "10": 7})
            index.verify()


def _close(subject: object) -> None:
    if isinstance(subject, (BinaryIndex, BinaryIndexBuilder)):
        subject.close()


def run(folder: Path, name: str, failure: str, step: int) -> None:
    """Let one call fail after the other, until none did: every one with every ending, or each ``step``-th with one."""
    runs = Runs(folder, name, failure)
    for number in count(1, step):
        endings = runs.endings
        for ending in endings if step == 1 else [endings[(number // step) % len(endings)]]:
            try:
                ending(number)
            except Exception as error:
                what = f"{name}, {failure} at call {number} ({runs.outcome.told}), {ending.__name__}"
                say(f"{what}: {type(error).__name__}: {error}".replace("\n", " ")[:600])
        if not runs.outcome.fired:
            say("done", number - 1)
            return


def main(folder: Path, name: str, step: str, *failures: str) -> None:
    import_module("faiss").omp_set_num_threads(1)  # else each fork loads it; threads do not survive a fork
    templates(folder)
    for failure in failures:
        signal.alarm(4 * _PATIENCE)
        run(folder, name, failure, int(step))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
