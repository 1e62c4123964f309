"""One writer of a binary index: milliseconds of an add of 1, 100 and 1,000 records, on one disk.

python benchmarks/faiss_writers.py --folder DIR [--seconds 5]

To compare two versions of jinavec, give the Python of each checkout; both run this file, in turn, on the same folder:

python benchmarks/faiss_writers.py --folder DIR --pythons OLD/.venv/bin/python NEW/.venv/bin/python --rounds 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jinavec import Contract, ModelProfile, Record
from jinavec_integrations.faiss import BinaryIndex

WIDTH = 1024
SIZES = (1, 100, 1000)
_WARM = 3
"""Adds of each size that are not measured."""


def adds(folder: Path, size: int, seconds: float) -> float:
    """Return the median milliseconds of an add of so many records to an index that grows by them."""
    random = np.random.default_rng(size)
    vectors = random.standard_normal((size, WIDTH), dtype=np.float32)
    text = "The cat sleeps on the stove, and ships anchor in the harbour. " * 5
    times: list[float] = []
    with BinaryIndex.create(folder, Contract.of(ModelProfile(name="benchmark", width=WIDTH))) as index:
        end = time.perf_counter() + seconds
        while len(times) < _WARM + 5 or time.perf_counter() < end:
            number = len(times) * size
            records = [Record(str(number + n), text, {"topic": f"t{n % 20}", "number": n}) for n in range(size)]
            begin = time.perf_counter()
            index.add(records, vectors)
            times.append(time.perf_counter() - begin)
    return statistics.median(times[_WARM:]) * 1e3


def measure(folder: Path, seconds: float) -> dict[int, float]:
    with TemporaryDirectory(dir=folder) as temporary:
        return {size: adds(Path(temporary) / str(size), size, seconds) for size in SIZES}


def alternate(pythons: list[str], rounds: int, folder: Path, seconds: float) -> list[dict[int, float]]:
    """Return for each Python the medians over the rounds; whatever else the machine does befalls all of them."""
    found: list[dict[int, list[float]]] = [{size: [] for size in SIZES} for _ in pythons]
    for turn in range(rounds):
        for number in range(len(pythons))[:: -1 if turn % 2 else 1]:
            command = [pythons[number], __file__, "--folder", str(folder), "--seconds", str(seconds), "--json"]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for size, ms in json.loads(printed).items():
                found[number][int(size)].append(ms)
    return [{size: statistics.median(values) for size, values in times.items()} for times in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="on the disk to measure; nothing stays there")
    parser.add_argument("--seconds", type=float, default=5, help="for each size")
    parser.add_argument("--pythons", nargs="+", default=[sys.executable], help="of the checkouts to compare")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.json:
        print(json.dumps(measure(asked.folder, asked.seconds)))
        return
    found = alternate(asked.pythons, asked.rounds, asked.folder, asked.seconds)
    print("| records an add | " + " | ".join(f"{python}, ms" for python in asked.pythons) + " | last to first |")
    print("|---|" + "---|" * len(found) + "---|")
    for size in SIZES:
        times = [medians[size] for medians in found]
        print(f"| {size:,} | " + " | ".join(f"{ms:.2f}" for ms in times) + f" | {times[-1] / times[0]:.2f} |")


if __name__ == "__main__":
    main()
