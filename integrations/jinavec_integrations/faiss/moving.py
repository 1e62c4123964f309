"""Moving: rows copied into another order in sequential passes: random reads take a disk twenty times as long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.ingest import Progress, ReportProgress
from jinavec_integrations.faiss.rowfile import RowFile, Rows, in_sequence

BLOCK = 16_384
"""Rows moved at a time."""
_WINDOW = 2**25
"""Bytes that are put in order at a time."""


def move(source: RowFile, target: RowFile, places: Rows, what: str, progress: ReportProgress) -> int:
    """Write the rows at places (n,), each another one, to a new file in this order; return their CRC-32.

    Where the order is not the source's own, every row first goes somewhere into its window of the target, as it comes;
    then each window is put in order in memory.

    Args:
        source: is read from its beginning to its end.
        target: is made.
        places: of the source.
        what: is moved; a part of the names of the phases.
        progress: told how many rows are done.

    Raises:
        IndexDamaged: the source is too short.
    """
    target.create()
    if (places[1:] > places[:-1]).all():
        return target.append(0, _in_order(source, places, what, progress))
    window = max(1, _WINDOW // source.width)
    target.scatter(_spread(source, places, window, what, progress))
    return target.append(0, _ordered(target, places, window, what, progress))


def _in_order(source: RowFile, places: Rows, what: str, progress: ReportProgress) -> Iterator[NDArray[Any]]:
    for start in range(0, len(places), BLOCK):
        yield source.read(places[start : start + BLOCK])
        progress(Progress(f"moving {what}", min(start + BLOCK, len(places)), len(places)))


def _spread(
    source: RowFile, places: Rows, window: int, what: str, progress: ReportProgress
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (row of the target, rows): as the source has them, each in the window it belongs to."""
    count = int(places.max()) + 1
    windows = np.full(count, -1, np.int32)  # of each place; -1: nobody wants it
    windows[places] = np.repeat(np.arange(-(-len(places) // window), dtype=np.int32), window)[: len(places)]
    free = list(range(0, len(places), window))
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        sequence = np.argsort(windows[start:end], kind="stable")
        owners, begins, counts = np.unique(windows[start:end][sequence], return_index=True, return_counts=True)
        block = source.read(np.arange(start, end))[sequence]
        for owner, begin, rows in zip(owners.tolist(), begins.tolist(), counts.tolist(), strict=True):
            if owner >= 0:
                yield free[owner], block[begin : begin + rows]
                free[owner] += rows
        progress(Progress(f"moving {what}", end, count))


def _ordered(target: RowFile, places: Rows, window: int, what: str, progress: ReportProgress) -> Iterator[NDArray[Any]]:
    for start in range(0, len(places), window):
        came = np.argsort(places[start : start + window])
        yield in_sequence(target.read(np.arange(start, start + len(came))), came)
        progress(Progress(f"ordering {what}", start + len(came), len(places)))
