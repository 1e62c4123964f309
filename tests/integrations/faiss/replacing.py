"""Ways to put something else where an index is open, in this process or in one of its own.

``python -m tests.integrations.faiss.replacing BASE WAY`` does it, adds to what is there now where it can, says so, and
looks at it again once it is told to.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

from .child import CONTRACT, State, add, check_vectors, say, state_of, vector

FIRST: State = {str(id): 1 for id in range(1, 25)}
"""In the copy made while the index was closed."""
WRITTEN: State = {"2": 3, "30": 3, "31": 3}
LAST: State = {**FIRST, **WRITTEN}
"""Acknowledged when the folder is replaced."""
NEW: State = {str(id): 50 for id in range(5, 40)}
"""In the newly built index."""
ADDED: State = {"1": 60, "100": 60}
"""Added to what is there afterwards."""


def templates(base: Path) -> None:
    """Make what a replacement finds: the index, as of now and as of before, a new one, and another one to be merged."""
    with BinaryIndex.create(base / "copy", CONTRACT, options={"nlist": 2}) as index:
        add(index, {id: 1 for id in FIRST if int(id) < 20} | {"99": 1})
        index.compact()
        add(index, {id: 1 for id in FIRST if int(id) >= 20})
        index.delete("99")
    shutil.copytree(base / "copy", base / "later")
    with BinaryIndex.open(base / "later") as index:
        add(index, WRITTEN)
    build(base / "new")
    with BinaryIndex.create(base / "other", CONTRACT) as index:
        add(index, ADDED)


def build(folder: Path) -> None:
    with BinaryIndexBuilder(folder, contract=CONTRACT, options={"nlist": 2}) as builder:
        builder.finish().close()
    with BinaryIndex.open(folder, options={"nlist": 2}) as index:
        add(index, NEW)
        index.compact()


def exchange(base: Path) -> None:
    (base / "live").rename(base / "away")
    (base / "new").rename(base / "live")


def rebuild(base: Path) -> None:
    shutil.rmtree(base / "live")
    build(base / "live")


def remove(base: Path) -> None:
    shutil.rmtree(base / "live")


def link(base: Path) -> None:
    (base / "live").rename(base / "away")
    (base / "live").symlink_to(base / "new")


def switch(base: Path) -> None:
    """The link by which the index was opened leads elsewhere."""
    (base / "next").symlink_to(base / "new")
    (base / "next").rename(base / "live")


def restore(base: Path) -> None:
    shutil.rmtree(base / "live")
    shutil.copytree(base / "copy", base / "live")


def copy_over(base: Path) -> None:
    """As ``cp`` does: the files stay the same, with another content."""
    shutil.copytree(base / "copy", base / "live", dirs_exist_ok=True)


def copy_file_by_file(base: Path) -> None:
    """As ``rsync`` does: the folder stays the same, with other files."""
    for path in sorted((base / "copy").iterdir()):
        part = shutil.copy2(path, base / "live" / f".{path.name}.part")
        os.replace(part, base / "live" / path.name)


@dataclass(frozen=True)
class Way:
    """A way to replace an index."""

    replace: Callable[[Path], None]
    result: State | None
    """What is there afterwards; None: nothing."""
    moves: bool = False
    """Whether the index that was there is still whole, elsewhere."""
    linked: bool = False
    """Whether the index was opened by a link to ``away``."""
    in_place: bool = False
    """Whether SQLite's log stays: then it must be empty, or nothing could be made of what is there."""


WAYS = {
    "exchanged": Way(exchange, NEW, moves=True),
    "rebuilt": Way(rebuild, NEW),
    "removed": Way(remove, None),
    "a link to another": Way(link, NEW, moves=True),
    "a link that was switched": Way(switch, NEW, moves=True, linked=True),
    "restored": Way(restore, FIRST),
    "copied over": Way(copy_over, FIRST, in_place=True),
    "copied file by file": Way(copy_file_by_file, FIRST, in_place=True),
}


def open_writer(base: Path, way: Way) -> BinaryIndex:
    """Open the index at ``live`` that is to be replaced, and write: it then holds ``LAST``."""
    folder = base / "live"
    if way.linked:
        folder = base / "away"
        (base / "live").symlink_to(folder)
    shutil.copytree(base / ("later" if way.in_place else "copy"), folder)
    index = BinaryIndex.open(base / "live", options={"nlist": 3})
    if way.in_place:
        index.delete("no such id")
    else:
        add(index, WRITTEN)
    assert state_of(index) == LAST
    return index


def check_folder(folder: Path, state: State) -> None:
    """Whoever opens it finds it whole, and can do everything."""
    with BinaryIndex.open(folder, options={"nlist": 2}) as index:
        assert state_of(index) == state
        check_vectors(index, state)
        index.verify()
        add(index, ADDED)
        index.delete("6")
        index.compact()
        expected = {id: revision for id, revision in {**state, **ADDED}.items() if id != "6"}
        assert state_of(index) == expected
        check_vectors(index, expected)
        index.verify()


def main(base: Path, name: str) -> None:
    way = WAYS[name]
    way.replace(base)
    if way.result is None or way.in_place:  # in place, the lock is the writer's
        say("replaced")
        return
    with BinaryIndex.open(base / "live") as index:
        add(index, ADDED)
        say("replaced")
        sys.stdin.readline()
        assert state_of(index) == {**way.result, **ADDED}
        add(index, {"101": 61})
        assert index.search(vector("101", 61), 1)[0].record.id == "101"
        index.verify()
    say("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
