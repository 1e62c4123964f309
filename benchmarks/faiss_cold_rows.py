"""Forty int8 rows that are not in memory: the index's row file against NumPy's memory map, in one run.

python benchmarks/faiss_cold_rows.py [--rows 1000000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jinavec_integrations.faiss.storage.folder import Folder
from jinavec_integrations.faiss.storage.rowfile import VectorFile

WIDTH = 1024


def cold_rows(folder: Path, rows: int, rounds: int = 15, picked: int = 40) -> dict[str, Any]:
    """Return medians in ms of reading so many cold rows (1024 int8), and the bytes that came from the disk.

    Each round evicts the file (synced, mapped by nobody), opens it anew and reads rows that no round before has read.
    """
    file = VectorFile.create(Folder(folder), WIDTH)
    path = folder / file.name
    block = np.random.default_rng(0).integers(-127, 128, (10_000, WIDTH), np.int8)
    file.append(0, (block for _ in range(rows // len(block))))
    ways: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
        "numpy memory map": lambda slots: np.memmap(path, np.int8, "r", 4096, (rows, WIDTH))[slots],
        "row file": lambda slots: _through_row_file(folder, rows, slots),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    read: dict[str, list[int]] = {name: [] for name in ways}
    random = np.random.default_rng(1)
    for _ in range(rounds):
        for name, gather in ways.items():
            slots = np.sort(random.choice(rows, picked, replace=False))
            _evict(path)
            before, start = _bytes_read(), time.perf_counter()
            found = gather(slots)
            times[name].append((time.perf_counter() - start) * 1e3)
            read[name].append(_bytes_read() - before)
            assert np.array_equal(found, block[slots % len(block)])
            del found
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "rows": rows,
        "picked": picked,
        "ms": {name: round(value, 3) for name, value in medians.items()},
        "ratio": round(medians["row file"] / medians["numpy memory map"], 4),
        "bytes_from_disk": {name: int(statistics.median(values)) for name, values in read.items()},
    }


def _through_row_file(folder: Path, rows: int, slots: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Read as rescoring does: ask for all pages at once, then gather."""
    file = VectorFile(Folder(folder), WIDTH)
    mapped = file.rows(rows)
    file.prefetch(slots)
    return mapped[slots]


def _evict(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("read_bytes:")[1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print(json.dumps(cold_rows(Path(folder), given.rows, given.rounds), indent=1))


if __name__ == "__main__":
    main()
