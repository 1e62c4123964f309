"""Files of an open index become shorter; a process of its own runs this, in which each use is forked.

``python -m tests.integrations.faiss.shortening BASE NAMES SIZES MOMENTS`` prints a line for each thing that went wrong,
and at last how many uses there were. A file keeps half of its bytes, or SIZES is ``all``: from none to all but one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jinavec import Contract, ModelProfile, Record
from jinavec.errors import IndexDamaged
from jinavec.vectors import Float32, normalize
from jinavec_integrations.faiss import BinaryIndex

from .child import say

DIMENSION, SETTLED, ROWS, LISTS = 1024, 4200, 4250, 16
"""So many that a search looks into the lists, and every file is larger than a page but the bounds of the lists."""
CONTRACT = Contract.of(ModelProfile(name="tests", width=DIMENSION))
FILES = ("order.1.int64", "places.1.int64", "offsets.1.int64", "centroids.1.float32", "codes.1.faiss", "vectors.1.int8")
_PATIENCE = 300
"""Seconds after which a use hangs."""


def vectors(start: int, end: int) -> Float32:
    return normalize(np.random.default_rng(0).standard_normal((ROWS + 100, DIMENSION), dtype=np.float32)[start:end])


def records(start: int, end: int) -> list[Record]:
    return [Record(str(number), f"text {number}", {"number": number}) for number in range(start, end)]


def template(folder: Path) -> None:
    """Make an index in lists, with a few rows that are not in them.

    None of them is dead: then a search of so few would not look into the lists.
    """
    with BinaryIndex.create(folder, CONTRACT, options={"nlist": LISTS}) as index:
        index.add(records(0, SETTLED), vectors(0, SETTLED))
        index.delete(["3"])
        index.compact()
        index.add(records(SETTLED, ROWS), vectors(SETTLED, ROWS))
    with BinaryIndex.create(folder.with_name("other"), CONTRACT) as other:
        other.add(records(ROWS, ROWS + 5), vectors(ROWS, ROWS + 5))


def hits(index: BinaryIndex, condition: dict[str, Any] | None = None, k: int = 5) -> object:
    return [[(hit.record.id, round(hit.score, 3)) for hit in index.search(query, k, condition)] for query in QUERIES]


def merge_into(index: BinaryIndex) -> None:
    with BinaryIndex.open(index.folder.with_name("other")) as other:
        index.merge(other)


def merge_from(index: BinaryIndex) -> object:
    with BinaryIndex.create(index.folder.with_name("target"), CONTRACT) as target:
        target.merge(index)
        return sorted(target.ids()), {id: row.tolist() for id, row in target.vectors(["0", str(SETTLED)]).items()}


QUERIES = vectors(10, ROWS)[:: ROWS // 3]
SOME = ["0", "5", str(SETTLED), str(ROWS - 2)]
READS: dict[str, Callable[[BinaryIndex], object]] = {
    "search": hits,
    "search with a filter": lambda index: hits(index, {"number": {"gte": 10}}),
    "search with a filter that leaves few": lambda index: hits(index, {"number": {"in": [0, 5, SETTLED]}}),
    "search for all": lambda index: hits(index, k=600),
    "search_batch": lambda index: [[hit.record.id for hit in found] for found in index.search_batch(QUERIES, 5)],
    "range_search": lambda index: [(record.id, far) for record, far in index.range_search(QUERIES[0], 400)],
    "get": lambda index: index.get(SOME),
    "count": lambda index: index.count(),
    "vectors": lambda index: {id: row.tolist() for id, row in index.vectors(SOME).items()},
    "reconstruct": lambda index: index.reconstruct(SOME).tolist(),
    "iterate": lambda index: [
        (page.records, None if page.vectors is None else page.vectors.tolist())
        for page in index.iterate(100, vectors=True, filter={"number": {"gte": SETTLED - 80}})
    ],
    "merge from it": merge_from,
    "calibrate": lambda index: index.calibrate(0.1, QUERIES).queries,
}
WRITES: dict[str, Callable[[BinaryIndex], object]] = {
    "verify": lambda index: index.verify(),
    "add": lambda index: index.add(records(ROWS, ROWS + 5), vectors(ROWS, ROWS + 5)),
    "replace": lambda index: index.add(records(0, 5), vectors(ROWS, ROWS + 5)),
    "ingest": lambda index: index.ingest(records(ROWS, ROWS + 5), vectors(ROWS, ROWS + 5)),
    "delete": lambda index: index.delete(["1", str(SETTLED)]),
    "delete by filter": lambda index: index.delete(filter={"number": {"lt": 100}}),
    "merge": merge_into,
    "compact": lambda index: index.compact(),
}
REFUSED = ("verify", "add", "replace", "ingest", "merge", "compact")
"""What cannot be done with row files that are too short."""


def opened(folder: Path) -> BinaryIndex:
    return BinaryIndex.open(folder, options={"nlist": LISTS, "candidates": 40})


class Uses:
    """The uses of an index one of whose files was shortened."""

    def __init__(self, base: Path, name: str) -> None:
        self._base, self._name, self._copy = base, name, base / "copy"
        self._shortened = self._copy / name
        for folder in (self._copy, base / "target"):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base / "template", self._copy)
        with opened(self._copy) as index:
            self._expected = {what: read(index) for what, read in READS.items()}

    def check(self, what: str, kept: float, moment: str) -> str:
        """Use the index in a forked process; return what went wrong."""
        for name in ("copy", "target"):
            shutil.rmtree(self._base / name, ignore_errors=True)
        shutil.copytree(self._base / "template", self._copy)
        child = os.fork()
        if child == 0:
            signal.alarm(_PATIENCE)
            try:
                self._use(what, kept, moment)
                self._look_again(what)
            except BaseException as error:
                place = traceback.extract_tb(error.__traceback__)[-1].line
                say(f"{self._name}, {what}, {kept:g} kept, {moment}: {type(error).__name__}: {error} ({place})"[:300])
            finally:
                os._exit(0)
        status = os.waitpid(child, 0)[1]
        return f"{self._name}, {what}, {kept:g} kept, {moment}: killed by signal {status}" if status else ""

    def _use(self, what: str, kept: float, moment: str) -> None:
        """Refuse it, naming the file; or do it rightly, where the file is not needed."""
        with opened(self._copy) as index:
            if moment != "opened":
                hits(index)
                index.vectors(SOME)
            if moment == "written":
                index.delete("no such id")
            size = max(0, min(self._shortened.stat().st_size - 1, int(self._shortened.stat().st_size * kept)))
            os.truncate(self._shortened, size)
            try:
                found = {**READS, **WRITES}[what](index)
            except IndexDamaged as error:
                assert self._name in str(error), f"names something else: {error}"
            else:
                assert what not in REFUSED or self._name not in ("codes.1.faiss", "vectors.1.int8"), "not refused"
                assert what != "verify", "not found"
                assert what not in READS or found == self._expected[what], "another result"
                if what == "compact":
                    assert hits(index, k=600) == self._expected["search for all"], "another result"
                    assert not self._shortened.exists()
            if self._shortened.exists():
                assert self._shortened.stat().st_size == size, "it was made longer"

    def _look_again(self, what: str) -> None:
        """Whoever opens it later is told the same; after a compaction that did not need the file, all is well."""
        try:
            with opened(self._copy) as index:
                index.verify()
        except IndexDamaged as error:
            assert self._name in str(error), f"names something else later: {error}"
            assert self._shortened.exists(), f"it is gone, but {error}"
        else:
            assert not self._shortened.exists(), "nobody finds it later"


def main(base: Path, names: str, sizes: str, moments: str) -> None:
    import_module("faiss").omp_set_num_threads(1)  # threads do not survive a fork
    template(base / "template")
    kept = [0.5] if sizes == "some" else [0, 0.01, 0.97, 1]
    done = 0
    for name in names.split(","):
        uses = Uses(base, name)
        for what, moment in product([*READS, *WRITES], moments.split(",")):
            wrong = uses.check(what, kept[done % len(kept)], moment)
            if wrong:
                say(wrong)
            done += 1
    say("done", done)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
