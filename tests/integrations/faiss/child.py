"""What the tests run in a process of its own, to kill it, to starve it or to shut it out: child.py WHAT FOLDER ..."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np

from jinavec import Contract, Encoder, ModelProfile, Progress, Record, Role, Task
from jinavec.backends.base import Backend
from jinavec.errors import EngineError, IndexLocked, IndexNotFound, InvalidInput
from jinavec.vectors import Float32, normalize
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder
from jinavec_integrations.faiss.storage.records import Transaction

DIMENSION = 12
CONTRACT = Contract.of(ModelProfile(name="tests", width=DIMENSION))
State = dict[str, int]
"""The revision of each record that is there."""


def vector(id: str, revision: int, dimension: int = DIMENSION) -> Float32:
    return normalize(np.random.default_rng([int(id), revision]).standard_normal(dimension))


def add(index: BinaryIndex, revisions: State, text: str = "") -> None:
    records = [Record(id, f"{text}{revision}", {"revision": revision}) for id, revision in revisions.items()]
    index.add(records, [vector(id, revision, index.contract.dimension) for id, revision in revisions.items()])


# a known sequence of changes


def added(number: int) -> State:
    """What step ``number`` adds; it also replaces some of what was there."""
    return {str(id % 150): number for id in range(number * 7, number * 7 + 5 + number % 25)}


def deleted(number: int) -> list[str]:
    return [str(id % 150) for id in range(number * 3, number * 3 + 20)]


def merged(number: int) -> State:
    """What the index holds that step ``number`` merges."""
    return {str(id % 150): 10_000 + number % 3 for id in range(number % 3 * 40, number % 3 * 40 + 30)}


def apply(index: BinaryIndex, number: int) -> None:
    if number % 10 == 9:
        index.compact()
    elif number % 10 == 6:
        with BinaryIndex.open_target(
            str(index.folder.with_name(f"other {number % 3}")), contract=CONTRACT, encoder=None, options=None
        ) as other:
            add(other, merged(number))
            index.merge(other)
    elif number % 4 == 3:
        index.delete(deleted(number))
    else:
        add(index, added(number))


def state_after(steps: int) -> State:
    state: State = {}
    for number in range(steps):
        if number % 10 == 9:
            continue
        if number % 10 == 6:
            state |= merged(number)
        elif number % 4 == 3:
            state = {id: revision for id, revision in state.items() if id not in deleted(number)}
        else:
            state |= added(number)
    return state


def state_of(index: BinaryIndex) -> State:
    """What a search over everything finds; a record found twice, or half of one, is an error."""
    hits = index.search(np.ones(index.contract.dimension), 10**6)
    state = {hit.record.id: hit.record.metadata["revision"] for hit in hits}
    assert len(state) == len(hits)
    assert all(hit.record.text.endswith(str(hit.record.metadata["revision"])) for hit in hits)
    return state


def check_vectors(index: BinaryIndex, state: State) -> None:
    """Every record has its own vector: with that as the query, it comes first."""
    for id, revision in state.items():
        hit = index.search(vector(id, revision, index.contract.dimension), 1)[0]
        assert (hit.record.id, hit.record.metadata["revision"]) == (id, revision)
        assert hit.score > 0.99


# what the processes do


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def work(folder: Path, first: str, last: str) -> None:
    """Take step after step, and acknowledge each on standard output; every other process arranges rows in lists."""
    options = {"nlist": 6} if int(first) % 2 else {"plan": "flat"}
    with BinaryIndex.open(folder, options=options) as index:
        for number in range(int(first), int(last)):
            apply(index, number)
            say(number)


def build(folder: Path) -> None:
    """Build an index of 3000 records in batches of 100, acknowledge each, and arrange them in lists."""
    with BinaryIndexBuilder(folder, contract=CONTRACT, options={"nlist": 12}, resume=True) as builder:
        for start in range(0, 3000, 100):
            ids = [str(id) for id in range(start, start + 100)]
            builder.add([Record(id, "1", {"revision": 1}) for id in ids], [vector(id, 1) for id in ids])
            say(start + 100)
        builder.finish().close()
    say("done")


def build_large(folder: Path, form: str) -> None:
    """Build an index of 50,000 vectors of 1024 dimensions, and say by how much the peak of memory grew."""
    import resource

    rows, width = 50_000, 1024
    contract = Contract.of(ModelProfile(name="tests", width=width))
    random = np.random.default_rng(0)

    def blocks() -> Iterator[Any]:
        for _ in range(0, rows, 5000):
            yield random.standard_normal((5000, width), dtype=np.float32)

    if form in ("map", "parquet"):
        _write_large(folder.with_name("vectors"), form, blocks(), width)
    for imported in ("faiss", "pyarrow.parquet"):
        import_module(imported)
    np.zeros((5000, width), np.float32)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _peak()
    with BinaryIndexBuilder(folder, contract=contract) as builder:
        if form == "parquet":
            builder.add_parquet(folder.with_name("vectors"), vector="v")
        elif form == "map":
            builder.add_vectors(np.memmap(folder.with_name("vectors"), np.float32, "r", shape=(rows, width)))
        elif form == "bits":
            builder.add_vectors(np.packbits(block > 0, axis=1) for block in blocks())
        else:
            builder.add_vectors(blocks())
        assert builder.finish().count() == rows
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    say(_peak() - before)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _write_large(path: Path, form: str, blocks: Iterator[Any], width: int) -> None:
    if form == "map":
        with path.open("wb") as file:
            for block in blocks:
                file.write(block.tobytes())
        return
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    schema = arrow.schema([("v", arrow.list_(arrow.float32(), width))])
    with parquet.ParquetWriter(path, schema) as writer:
        for block in blocks:
            writer.write_table(arrow.table({"v": arrow.FixedSizeListArray.from_arrays(block.reshape(-1), width)}))


def build_texts(folder: Path, kill: str) -> None:
    """Build an index of 3000 texts, note each one that is encoded, and die as soon as a phase begins."""
    vars(import_module("jinavec_integrations.faiss.index"))["_EMBEDDED"] = 128
    encoded, stored = folder.with_name(f"{folder.name}.encoded"), 0

    class Noting(Backend):
        name = "noting"

        def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Any = None) -> Float32:
            with encoded.open("a") as file:
                file.writelines(f"{text}\n" for text in texts)
            if kill == "encoding" and stored:
                os.kill(os.getpid(), signal.SIGKILL)
            return np.array([vector(text.split()[-1], 1) for text in texts])

    def watch(event: Progress) -> None:
        nonlocal stored
        if event.phase == "ingest" and event.done > stored:
            stored = event.done
            say(stored)
        if event.phase == kill or (kill == "storing" and stored):
            os.kill(os.getpid(), signal.SIGKILL)

    encoder = Encoder(ModelProfile(name="tests", width=DIMENSION), Noting())
    records = [Record(str(id), f"text {id}") for id in range(3000)]
    options = {"nlist": 12}
    with BinaryIndexBuilder(folder, contract=CONTRACT, options=options, resume=True, progress=watch) as builder:
        builder.add_texts(records, encoder)
        if kill == "switching":
            sys.setprofile(_Crash(3, frozenset({"replace"})))  # two for the new row files; then the manifest's
        builder.finish().close()
    say("done")


def make_sound(folder: Path, kind: str) -> None:
    """Make an index of 300 records: flat, in lists with some rows outside them, or of bits alone."""
    options = {"flat": {}, "lists": {"nlist": 5}, "bits": {"vectors": "none"}}[kind]
    with BinaryIndex.create(folder, CONTRACT, options=options) as index:
        add(index, {str(id): 1 for id in range(250)}, "some text ")
        if kind == "lists":
            index.compact()
        add(index, {str(id): 1 for id in range(230, 300)}, "some text ")
        index.delete("0")


def use(folder: Path) -> list[EngineError]:
    """Do everything that an index can do, and return what it finds wrong; other errors are not allowed."""
    found: list[EngineError] = []
    actions: list[Callable[[BinaryIndex], object]] = [
        lambda index: index.info(),
        lambda index: index.ids(),
        lambda index: index.search(vector("5", 1), 10),
        lambda index: index.search(vector("5", 1), 400, {"revision": {"lte": 1}}),
        lambda index: index.search_batch([vector("5", 1), vector("6", 1)], 400, {"not": {"revision": 2}}),
        lambda index: index.range_search(vector("5", 1), 6),
        lambda index: index.vectors(["5", "6"]),
        lambda index: index.get([str(id) for id in range(300)]),
        lambda index: index.verify(),
        lambda index: index.calibrate(0.5, sample=3),
        lambda index: add(index, {"1": 2, "4": 2, "1000": 2}),
        lambda index: index.delete(["2", "5", "1000"]),
        lambda index: index.compact(),
        lambda index: index.search(vector("1", 2), 3),
    ]
    try:
        with BinaryIndex.open(folder) as index:
            for action in actions:
                try:
                    action(index)
                except EngineError as error:
                    found.append(error)
            try:
                index.reconstruct("7")
            except (EngineError, InvalidInput):
                pass
    except EngineError as error:
        found.append(error)
    return found


def fuzz(folder: Path, seed: str, rounds: str) -> None:
    """Use indexes whose files were cut, changed, exchanged or replaced, in the memory of a sound one and a bit more."""
    import resource

    sound: list[Path] = []
    for kind in ("flat", "lists", "bits"):
        make_sound(folder / kind, kind)
        assert use(shutil.copytree(folder / kind, folder / "copy")) == []
        shutil.rmtree(folder / "copy")
        sound.append(folder / kind)
    shutil.copytree(sound[0], folder / "linked")
    size = int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, resource.RLIM_INFINITY))
    dice, refused = random.Random(int(seed)), 0
    for number in range(int(rounds)):
        copy = shutil.copytree(dice.choice(sound), folder / "copy")
        path = dice.choice(sorted(path for path in copy.iterdir() if path.name != "lock.sqlite"))
        how = dice.choice(DAMAGES)
        how(path, dice, sound)
        try:
            refused += bool(use(copy))
        except BaseException as error:
            error.add_note(f"round {number}: {how.__name__} of {path.name}")
            raise
        shutil.rmtree(copy)
    say("done", refused)


def cut(path: Path, dice: random.Random, sound: list[Path]) -> None:
    size = path.stat().st_size
    places = [0, 1, 4, 12, 20, 32, 33, 100, 4096, size - 1, size // 2, dice.randrange(size + 1)]
    os.truncate(path, min(size, dice.choice(places)))


def grow(path: Path, dice: random.Random, sound: list[Path]) -> None:
    with path.open("ab") as file:
        file.write(dice.randbytes(dice.choice([1, 8, 4096])))


def change(path: Path, dice: random.Random, sound: list[Path]) -> None:
    content = bytearray(path.read_bytes() or b"\0")  # SQLite leaves empty files
    reach = dice.choice([40, 200, 5000, len(content)])
    for _ in range(dice.choice([1, 3, 30])):
        content[dice.randrange(min(reach, len(content)))] = dice.choice([0, 255, dice.randrange(256)])
    path.write_bytes(content)


def exchange(path: Path, dice: random.Random, sound: list[Path]) -> None:
    others = [file for folder in sound for file in folder.iterdir() if file.suffix == path.suffix]
    shutil.copy(dice.choice(others), path)


def put_elsewhere(path: Path, dice: random.Random, sound: list[Path]) -> None:
    path.unlink()
    target = dice.choice(
        [
            "/dev/zero",
            "/dev/null",
            "/nowhere",
            str(path.parent),
            str(sound[0].with_name("linked") / path.name),
            "fifo",
            "",
        ]
    )
    if target == "fifo":
        os.mkfifo(path)
    elif target:
        path.symlink_to(target)
    else:
        path.mkdir()


DAMAGES = [cut, grow, change, change, exchange, put_elsewhere]


def merge_in_parts(folder: Path) -> None:
    """Merge another index in parts of 50 records, and acknowledge each."""
    vars(import_module("jinavec_integrations.faiss.index"))["_BLOCK"] = 50
    with BinaryIndex.open(folder) as index, BinaryIndex.open(folder.with_name("other")) as other:
        index.merge(other, lambda event: say(event.done))
    say("done")


def read_along(folder: Path) -> None:
    """Read for as long as another process writes, and say each step whose state was seen; it is never half of one."""
    states, step = [state_after(0)], 0
    with BinaryIndex.open(folder) as index:
        while "end" not in (state := state_of(index)):
            while state != states[step]:
                step += 1
                if step == len(states):
                    assert step < 5000, state
                    states.append(state_after(step))
            say(step)
            near = index.search_batch([vector("1", 1), vector("2", 1)], 5, {"revision": {"gte": step - 20}})
            assert all(hit.record.metadata["revision"] >= step - 20 for hits in near for hit in hits)
    say("done")


def hold(folder: Path) -> None:
    """Begin to write, and never come to an end."""

    def write(*_: object) -> None:
        say("writing")
        time.sleep(600)

    with patch.object(Transaction, "add", write), BinaryIndex.open(folder) as index:
        add(index, {"1": 1})


def keep_open(folder: Path) -> None:
    """Write once, then keep the index open."""
    with BinaryIndex.open(folder) as index:
        add(index, {"1": 1})
        say("written")
        time.sleep(600)


def add_alongside(folder: Path, number: str) -> None:
    """Add one record after the other while others do the same; the first process compacts, too."""
    with BinaryIndex.open(folder) as index:
        for step in range(25):
            add(index, {str(1000 * int(number) + step): step})
            if number == "0" and step % 10 == 9:
                index.compact()
    say("done")


def fill(folder: Path, limit: str, text: str) -> None:
    """Add until no file may grow any more, then see whether everything goes on once they may."""
    import resource

    if limit != "0":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    with BinaryIndex.open(folder) as index:
        state = _fill_up(index, int(text))
        for name, start, width in (
            ("codes.faiss", 33, (index.contract.dimension + 7) // 8),
            ("vectors.int8", 4096, index.contract.dimension),
        ):
            assert (folder / name).stat().st_size == start + width * len(state)
        assert state_of(index) == state
        assert index.count() == len(state)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder.parent / "ballast").unlink(missing_ok=True)
        add(index, {"1": 2, "1000000": 2}, "x" * int(text))
        state |= {"1": 2, "1000000": 2}
        check_vectors(index, {id: state[id] for id in list(state)[:: len(state) // 20]})
    with BinaryIndex.open(folder) as index:
        assert state_of(index) == state
    say("done", len(state))


def _fill_up(index: BinaryIndex, text: int) -> State:
    state: State = {}
    for number in count():
        batch = {str(id): 1 for id in range(number * 50, number * 50 + 50)}
        try:
            add(index, batch, "x" * text)
        except EngineError as error:
            assert "no space left" in str(error), error
            assert "nothing of this call was stored" in str(error)
            assert state, "the first batch should fit"
            return state
        state |= batch
    raise AssertionError


def read_only(folder: Path, expected: str) -> None:
    """Use an index that may only be read."""
    import_module("faiss")  # before the rights to read it are gone
    import_module("numpy.random")
    import_module("urllib.parse")
    if os.getuid() == 0:
        os.setuid(65534)
    with BinaryIndex.open(folder) as index:
        assert index.count() == len(state_of(index)) == int(expected)
        check_vectors(index, state_of(index))
        assert index.get("1") is not None
        assert index.info()["records"] == int(expected)
        for change in (lambda: add(index, {"1": 5}), lambda: index.delete("1")):
            try:
                change()
            except EngineError as error:
                assert "read-only" in str(error)
                assert not isinstance(error, IndexLocked)
            else:
                raise AssertionError
    say("done")


def fork(folder: Path) -> None:
    """Read and write in a forked process while the first one has the index open."""
    with BinaryIndex.open(folder) as index:
        assert state_of(index) == {}
        _in_fork(lambda: add(index, {"1": 1}))
        assert state_of(index) == {"1": 1}
        add(index, {"2": 1})
        _in_fork(lambda: check_vectors(index, {"1": 1, "2": 1}))
        _in_fork(lambda: add(index, {"1": 2}))
        add(index, {"3": 1})
        _in_fork(index.compact)
        add(index, {"4": 1})
    with BinaryIndex.open(folder) as index:
        assert state_of(index) == {"1": 2, "2": 1, "3": 1, "4": 1}
        _in_fork_while_read(index)
    say("done")


def _in_fork_while_read(index: BinaryIndex) -> None:
    """Fork while a thread is in the middle of a merge: the child is told so, and everything goes on."""

    def use() -> None:
        for action in (index.count, lambda: add(index, {"5": 1})):
            try:
                action()
            except EngineError as error:
                assert "in use by another thread when this process was forked" in str(error)
            else:
                raise AssertionError
        index.close()

    with BinaryIndex.create(index.folder.with_name("copy"), CONTRACT) as copy:
        copy.merge(index, lambda _: _in_fork(use))
        assert state_of(copy) == state_of(index)


def outlive(folder: Path) -> None:
    """Read in a forked process whose parent has closed the index, while another one adds and compacts."""
    with BinaryIndex.open(folder) as index:
        add(index, {str(id): 1 for id in range(500)})
        assert len(state_of(index)) == 500
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(ready, 1)
            for _ in range(3):
                assert len(state_of(index)) == index.count() == 1550
            add(index, {"2000": 1})
            index.verify()
            os._exit(0)
    with BinaryIndex.open(folder) as other:
        add(other, {str(id): 1 for id in range(400, 1000)})
        other.compact()
        add(other, {str(id): 1 for id in range(900, 1550)})
    os.write(told, b"1")
    assert os.waitpid(child, 0)[1] == 0
    with BinaryIndex.open(folder) as other:
        assert other.count() == 1551
    say("done")


def _in_fork(action: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def crash_everywhere(folder: Path, what: str) -> None:
    """Exit before and after every call that touches the disk, one after the other, and look at what is left."""
    action = {"create": _create, "add": _add, "delete": _delete, "compact": _compact, "merge": _merge}[what]
    import_module("faiss").omp_set_num_threads(1)  # else each fork loads it; threads do not survive a fork
    template, copy = folder / "template", folder / "copy"
    if what != "create":
        with BinaryIndex.create(template, CONTRACT) as index:
            add(index, {"1": 1, "2": 1, "3": 1})
        with BinaryIndex.create(folder / "other", CONTRACT) as other:
            add(other, {"2": 2, "4": 2, "5": 2})
    for number in count(1):
        shutil.rmtree(copy, ignore_errors=True)
        if template.exists():
            shutil.copytree(template, copy)
        child = os.fork()
        if child == 0:
            sys.setprofile(_Crash(number))
            action(copy)
            os._exit(0)
        survived = os.waitpid(child, 0)[1] == 0
        _check_crash(copy, what, survived)
        if survived:
            say("done", number)
            return


def _create(folder: Path) -> None:
    BinaryIndex.create(folder, CONTRACT).close()


def _add(folder: Path) -> None:
    with BinaryIndex.open(folder) as index:
        add(index, {"2": 2, "4": 2, "5": 2})


def _delete(folder: Path) -> None:
    with BinaryIndex.open(folder) as index:
        index.delete(["2", "3"])


def _compact(folder: Path) -> None:
    with BinaryIndex.open(folder, options={"nlist": 2}) as index:
        index.compact()


def _merge(folder: Path) -> None:
    with BinaryIndex.open(folder) as index, BinaryIndex.open(folder.parent / "other") as other:
        index.merge(other)


def _check_crash(folder: Path, what: str, survived: bool) -> None:
    before: State = {} if what == "create" else {"1": 1, "2": 1, "3": 1}
    added: State = {**before, "2": 2, "4": 2, "5": 2}
    after = {"create": {}, "add": added, "merge": added, "delete": {"1": 1}, "compact": before}[what]
    try:
        index = BinaryIndex.open(folder)
    except IndexNotFound:
        assert what == "create" and not survived
        index = BinaryIndex.create(folder, CONTRACT)
    with index:
        state = state_of(index)
        assert state == after if survived else state in (before, after), state
        assert index.count() == len(state)
        check_vectors(index, state)
        add(index, {"1": 7, "9": 7})
        check_vectors(index, state | {"1": 7, "9": 7})
        index.verify()
    for pattern, start, width in (("codes*.faiss", 33, 2), ("vectors*.int8", 4096, 12)):
        (file,) = folder.glob(pattern)
        assert file.stat().st_size == start + width * index_rows(folder)
    assert not list(folder.glob("*.n*"))


def index_rows(folder: Path) -> int:
    with BinaryIndex.open(folder) as index:
        return index.info()["rows"]


def search_after_fork(folder: Path) -> None:
    """Search lists, and go on in a forked process, with as many rows as are not all scored anyway."""
    rows, width = 4200, 1024
    vectors = np.random.default_rng(0).standard_normal((rows, width), np.float32)
    contract = Contract.of(ModelProfile(name="tests", width=width))
    with BinaryIndex.create(folder, contract, options={"nlist": 4}) as index:
        index.add([Record(str(id)) for id in range(rows)], vectors)
        index.compact()
        expected = index.search_batch(vectors[:4], 3), index.search(vectors[0], 3)
        if not (process := os.fork()):
            signal.alarm(60)
            assert (index.search_batch(vectors[:4], 3), index.search(vectors[0], 3)) == expected
            index.compact()
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0


def write_and_leave(index: BinaryIndex, id: str) -> NoReturn:
    """What a forked process does: it is told that it cannot write, or it writes; if it hangs, it is killed."""
    code = 1
    try:
        signal.alarm(60)
        with suppress(EngineError):
            add(index, {id: 1})
        code = 0
    finally:
        os._exit(code)


class _Crash:
    """A profile function that ends the process at a call that touches the disk, before it or after it."""

    CALLS = frozenset(
        (
            "write",
            "fsync",
            "truncate",
            "replace",
            "mkdir",
            "unlink",
            "tofile",
            "connect",
            "execute",
            "executemany",
            "executescript",
        )
    )

    def __init__(self, number: int, calls: frozenset[str] = CALLS) -> None:
        self.left, self.calls = number, calls

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event in ("c_call", "c_return") and arg.__name__ in self.calls:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    WHAT: dict[str, Callable[..., None]] = {
        "work": work,
        "build": build,
        "build_large": build_large,
        "build_texts": build_texts,
        "merge_in_parts": merge_in_parts,
        "fuzz": fuzz,
        "hold": hold,
        "keep_open": keep_open,
        "add_alongside": add_alongside,
        "fill": fill,
        "fork": fork,
        "outlive": outlive,
        "read_along": read_along,
        "read_only": read_only,
        "search_after_fork": search_after_fork,
        "crash_everywhere": crash_everywhere,
    }
    WHAT[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
