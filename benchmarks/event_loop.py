"""Elasticsearch and Qdrant: the longest stall of the event loop during ingest and search. See benchmarks/README.md."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.vectors import normalize

COUNT, WIDTH, SEARCHES = 10_000, 256, 200
PAUSE = 0.001


@dataclass(frozen=True, order=True)
class Stall:
    """By how much a pause came late, in seconds."""

    total: float
    waiting: float
    """What of it this thread was ready to run, and waited for a core that other threads or processes had."""

    def __str__(self) -> str:
        return f"{1000 * self.total:.1f} ms ({1000 * self.waiting:.1f} of them for a core)"


async def longest_stall(ended: asyncio.Event) -> Stall:
    """Return by how much a pause of a millisecond came late, at most."""
    longest = Stall(0.0, 0.0)
    while not ended.is_set():
        start, waited = time.perf_counter(), waited_for_core()
        await asyncio.sleep(PAUSE)
        longest = max(longest, Stall(time.perf_counter() - start - PAUSE, waited_for_core() - waited))
    return longest


def waited_for_core() -> float:
    """Return how many seconds this thread has been ready to run without running; 0 where the system is not Linux."""
    try:
        _, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    except OSError:
        return 0.0
    return int(waited) / 1e9


async def measure(target: str) -> tuple[Stall, Stall]:
    """Return the longest stall during an ingest and during searches, of a target that is not there yet."""
    vectors = normalize(np.random.default_rng(3).standard_normal((COUNT, WIDTH), np.float32))
    records = [Record(str(number), f"text {number} " * 50, {"n": number}) for number in range(COUNT)]
    contract = Contract.of(ModelProfile(name="benchmark", width=WIDTH))
    engine = open_engine(target, contract=contract)
    stalls: list[Stall] = []
    await engine.aget("nothing")  # the client is made, and what it needs imported
    gc.freeze()

    async def search() -> None:
        for number in range(SEARCHES):
            await engine.asearch(vectors[number], 10)

    for work in (lambda: engine.aingest(records, vectors), search):
        ended = asyncio.Event()
        watch = asyncio.create_task(longest_stall(ended))
        await work()
        ended.set()
        stalls.append(await watch)
    await engine.adelete(filter={"and": []})
    await engine.aclose()
    return stalls[0], stalls[1]


def main() -> None:
    """Print both stalls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="elasticsearch:URL or qdrant:URL; an empty index benchmark-... stays there")
    target = f"{parser.parse_args().server.rstrip('/')}/benchmark-{uuid4().hex}"
    ingest, search = asyncio.run(measure(target))
    print(f"Longest stall of the event loop: {ingest} while {COUNT:,} records are ingested,", end=" ")
    print(f"{search} during {SEARCHES} searches.")


if __name__ == "__main__":
    main()
