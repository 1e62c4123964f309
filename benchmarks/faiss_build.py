"""A binary index of ten million vectors, or any number: the time and memory of its build, opening, recall, latency.

    python benchmarks/faiss_build.py --count 10000000 --work DIR > faiss_build.md

The vectors of ``faiss_binary.py`` come through a pipe from a process of their own, which also finds the exact
neighbours, so that the memory measured here is the build's. Needs twice the index on the disk: 23 GB at ten million.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from faiss_binary import BLOCK, WIDTH, Synthetic, contract, machine, measure_opening, memory, recall

from jinavec import Progress
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

faiss: Any = import_module("faiss")
_BATCH = 8192
_MIB = 2**20


def generate(work: Path, count: int, queries: int) -> None:
    """Write the vectors to standard output, then the exact ten best of each query to a file."""
    data = Synthetic(count)
    asked = data.queries(queries)
    np.save(work / "queries.npy", asked)
    scores, rows = np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64)
    for block in data.blocks():
        x = data.documents(block)
        sys.stdout.buffer.write(x.data.cast("B"))
        numbers = np.broadcast_to(np.arange(block * BLOCK, block * BLOCK + len(x)), (queries, len(x)))
        scores, rows = np.concatenate([scores, asked @ x.T], axis=1), np.concatenate([rows, numbers], axis=1)
        kept = np.argpartition(-scores, 9, axis=1)[:, :10]
        scores, rows = np.take_along_axis(scores, kept, 1), np.take_along_axis(rows, kept, 1)
    np.save(work / "truth.npy", rows)


def batches(work: Path, count: int, queries: int) -> Iterator[np.ndarray[Any, Any]]:
    command = [sys.executable, __file__, "--generate", "--count", str(count), "--queries", str(queries)]
    with subprocess.Popen([*command, "--work", str(work)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while content := process.stdout.read(_BATCH * WIDTH * 4):
            yield np.frombuffer(content, np.float32).reshape(-1, WIDTH)
    if process.returncode:
        raise SystemExit("the vectors ended early")


class Phases:
    """The seconds of each phase, and the most memory of this process's own (not of mapped files) in it."""

    def __init__(self) -> None:
        self.before = memory("RssAnon")
        self.seconds: dict[str, float] = {}
        self.peak: dict[str, int] = {}
        self._now, self._since, self._done = "ingest", time.perf_counter(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def watch(self, event: Progress) -> None:
        now = time.perf_counter()
        ended = event.phase if event.done else self._now  # a phase that begins is told with nothing done
        self.seconds[ended] = self.seconds.get(ended, 0) + now - self._since
        self._now, self._since = event.phase, now

    def close(self) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak[self._now] = max(self.peak.get(self._now, 0), memory("RssAnon") - self.before)


def build(work: Path, count: int, queries: int) -> Phases:
    faiss.Kmeans(8, 2, niter=1).train(np.random.default_rng(0).random((100, 8), dtype=np.float32))  # its threads
    phases = Phases()
    shutil.rmtree(work / "index", ignore_errors=True)
    options = {"plan": "lists"}
    with BinaryIndexBuilder(
        work / "index", contract=contract(WIDTH), options=options, progress=phases.watch
    ) as builder:
        builder.add_vectors(batches(work, count, queries))
        builder.finish().close()
    phases.close()
    return phases


def one_default_iteration(work: Path, nlist: int) -> float:
    """Return the seconds of one iteration of ten, of the clustering of a stock ``IndexBinaryIVF``: 256 points a list."""
    (path,) = (work / "index").glob("codes*.faiss")
    codes = faiss.read_index_binary(str(path), faiss.IO_FLAG_MMAP_IFC)
    rows = np.memmap(path, np.uint8, "r", 33, (codes.ntotal, WIDTH // 8))
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), min(len(rows), 256 * nlist), replace=False))
    quantizer = faiss.IndexBinaryFlat(WIDTH)
    index = faiss.IndexBinaryIVF(quantizer, WIDTH, nlist)
    index.cp.niter = 1
    begin = time.perf_counter()
    index.train(rows[chosen])
    return time.perf_counter() - begin


def searched(work: Path) -> Iterator[tuple[str, float, float]]:
    """Yield a setting, its recall@10, and the median milliseconds of one warm query."""
    queries, truth = np.load(work / "queries.npy"), np.load(work / "truth.npy")
    for setting in ({}, *({"nprobe": nprobe} for nprobe in (32, 64, 256, 512, 1024))):
        with BinaryIndex.open(work / "index", options=setting) as index:
            found: list[Any] = []
            times: list[float] = []
            for part in range(2):
                for query in queries:
                    begin = time.perf_counter()
                    hits = index.search(query, 10)
                    times.append(time.perf_counter() - begin)
                    found.extend([[hit.record.id for hit in hits]] if part else [])
            name = ", ".join(f"{key} {value}" for key, value in setting.items()) or "as shipped"
            yield name, recall(found, truth), statistics.median(times[len(queries) :]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the index")
    parser.add_argument("--generate", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.generate:
        generate(asked.work, asked.count, asked.queries)
        return
    begin = time.perf_counter()
    phases = build(asked.work, asked.count, asked.queries)
    print(f"{asked.count:,} x {WIDTH} bits, {machine()}: built in {time.perf_counter() - begin:,.0f} s\n")
    print("| phase | seconds | peak memory above the imports, MiB |\n|---|---|---|")
    for name, seconds in phases.seconds.items():
        print(f"| {name} | {seconds:,.1f} | {phases.peak.get(name, 0) / _MIB:,.0f} |")
    with BinaryIndex.open(asked.work / "index") as index:
        plan = str(index.info()["plan"])
        nlist = int(plan.split()[0])
    codes, sample = asked.count * WIDTH // 8, min(asked.count, 39 * nlist) * WIDTH * 4
    allowed = _BATCH * WIDTH * 4 + sample + codes // 10
    print(
        f"\nPlan: {plan}. Peak {max(phases.peak.values()) / _MIB:,.0f} MiB; one batch, the training sample and a tenth"
    )
    print(f"of the codes are {allowed / _MIB:,.0f} MiB. Opens in {measure_opening(asked.work / 'index'):.1f} ms.\n")
    print("| setting | recall@10 | ms a query |\n|---|---|---|", flush=True)
    for name, found, ms in searched(asked.work):
        print(f"| {name} | {found:.3f} | {ms:.2f} |", flush=True)
    default = 10 * one_default_iteration(asked.work, nlist)
    ours = phases.seconds["training"]
    print(f"\nTraining: {ours:,.0f} s; ten iterations of FAISS's default, from one of them: {default:,.0f} s.")
    print(f"Ratio 1/{default / ours:.1f}, on {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
