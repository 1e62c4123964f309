"""Wrote the archives beside it, with the jinavec that made format 3; says what is in each of them.

``python write.py DIRECTORY`` makes them again, byte for byte but for the id of each index, which is drawn; a jinavec of
another format would make other ones. The tests recompute every record and vector from ``KINDS``.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jinavec import Contract, ModelProfile, Record
from jinavec_integrations.faiss import BinaryIndex

State = dict[int, int]
"""The revision of each record that is there, by the number in its id."""


@dataclass(frozen=True)
class Kind:
    """An index: what was done to it, step by step."""

    steps: tuple[tuple[str, Any], ...]
    dimension: int = 12
    lists: int | None = None
    """Lists that a compaction makes; none: rows stay flat."""
    bits_only: bool = False
    died: bool = False
    """Whether its writer was killed: the log of SQLite was never copied into the database."""

    @property
    def contract(self) -> Contract:
        return Contract.of(ModelProfile(name="tests", width=self.dimension))

    @property
    def options(self) -> dict[str, Any]:
        return {"vectors": "none" if self.bits_only else "auto", **({"lists": self.lists} if self.lists else {})}

    @property
    def state(self) -> State:
        """What is in it at the end."""
        state: State = {}
        for step, what in self.steps:
            if step == "add":
                state |= what
            elif step == "delete":
                state = {number: revision for number, revision in state.items() if number not in what}
        return state


def rows(start: int, end: int, revision: int = 1) -> State:
    return dict.fromkeys(range(start, end), revision)


KINDS = {
    "flat": Kind((("add", rows(0, 25)), ("add", rows(25, 40)))),
    "lists": Kind((("add", rows(0, 40)), ("compact", None), ("add", rows(40, 52))), lists=4),
    "compacted": Kind(
        (
            ("add", rows(0, 30)),
            ("add", rows(4, 7, 2)),
            ("delete", range(10, 18)),
            ("compact", None),
            ("add", rows(30, 40)),
            ("compact", None),
            ("add", rows(35, 45, 2)),
        )
    ),
    "changed": Kind(
        (("add", rows(0, 40)), ("add", rows(5, 12, 2)), ("delete", range(10, 20)), ("add", rows(15, 17, 3)))
    ),
    "bits": Kind((("add", rows(0, 60)), ("delete", range(3)), ("calibrate", None)), bits_only=True),
    "wide": Kind(
        (
            ("add", rows(0, 50)),
            ("delete", range(5)),
            ("compact", None),
            ("calibrate", None),
            ("add", rows(48, 60, 2)),
            ("delete", range(20, 24)),
        ),
        dimension=64,
        lists=3,
    ),
    "died": Kind((("add", rows(0, 20)), ("compact", None), ("add", rows(15, 25, 2)), ("delete", range(3))), died=True),
}


def vector(number: int, revision: int, dimension: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a unit vector (dimension,)."""
    drawn = np.random.default_rng([number, revision]).standard_normal(dimension)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def record(number: int, revision: int) -> Record:
    metadata: dict[str, Any] = {
        "revision": revision,
        "color": ("red", "grün", "蓝")[number % 3],
        "weight": number / 4,
        "even": number % 2 == 0,
        "tags": [f"t{number % 5}", number % 7],
        "big": 2**70 + number,
    }
    return Record(f"id {number}", f"text {number} in revision {revision}: Größe, 蓝", metadata)


def write(name: str, target: Path) -> None:
    """Make an index, and an archive of it."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        with BinaryIndex.create(folder, kind.contract, options=kind.options) as index:
            for step, what in kind.steps:
                apply(index, kind, step, what)
            if kind.died:
                pack(folder, target)  # while it is open
        if not kind.died:
            pack(folder, target)


def apply(index: BinaryIndex, kind: Kind, step: str, what: Any) -> None:
    if step == "add":
        vectors = [vector(number, revision, kind.dimension) for number, revision in what.items()]
        index.add([record(number, revision) for number, revision in what.items()], vectors)
    elif step == "delete":
        index.delete([f"id {number}" for number in what])
    elif step == "compact":
        index.compact()
    else:
        index.calibrate(0.9, sample=20)


def pack(folder: Path, target: Path) -> None:
    """Write the files of a folder into an archive; the map of SQLite's log belongs to the living."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            if not path.name.endswith("-shm"):
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    for name in KINDS:
        write(name, Path(sys.argv[1]) / f"{name}.zip")
