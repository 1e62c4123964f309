"""Compaction: the row files written anew, without deleted rows, in the order of the plan, beside who reads and writes.

Rows that count are never changed, so they are copied without any lock. What others added meanwhile is copied after
them, round by round, the last of it under the write lock; what they deleted stays a deleted row. Then one COMMIT makes
the new generation the one that counts. Until then, a crash leaves files that the next compaction removes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import EngineError
from jinavec.ingest import Progress, ReportProgress
from jinavec.vectors import Float32
from jinavec_integrations.faiss.parameters import FaissOptions, Plan, make_plan
from jinavec_integrations.faiss.search.ivf import SAMPLE, assign, train
from jinavec_integrations.faiss.storage.folder import Folder, generation_name, write_all
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.storage.manifest import DRAFT, Manifest
from jinavec_integrations.faiss.storage.rowfile import RowFile, in_sequence
from jinavec_integrations.faiss.storage.store import Store
from jinavec_integrations.faiss.types import Mask, Slots

_BLOCK = 16_384
"""Rows moved at a time."""
_WINDOW = 2**25
"""Bytes that are put in order at a time."""
_FEW = 16_384
"""Rows that others wait for, while they are copied under the lock."""


def compact(store: Store, options: FaissOptions, progress: ReportProgress) -> Plan:
    """Write the next generation and make it the one that counts; return its plan.

    Args:
        store: is read and written by others meanwhile.
        options: what was asked for.
        progress: called as the rows of each phase are done.

    Raises:
        IndexLocked: another compaction is going on, or a writer did not end.
        EngineError: no space; nothing has changed.
    """
    with store.compacting():
        with store.read() as (snapshot, layout):
            slots, known = snapshot.slots, snapshot.deleted
            plan = make_plan(snapshot.count, options, layout.manifest.plan)
            alive = store.alive(snapshot, layout)
        try:
            manifest, files = _arrange(store.folder, layout, alive, plan, progress)
            copied = _catch_up(store, layout, files, slots, manifest.compacted)
        except BaseException:
            with suppress(OSError, EngineError):  # else the next write removes them
                store.folder.unlink(*store.folder.leftovers(layout.manifest.generation))
            raise
        with store.write() as (transaction, current):
            _copy(layout, files, copied, transaction.slots, slots - manifest.compacted)
            now = current.manifest  # others may have changed it meanwhile
            known_now = {"settings": now.settings, "parameters": now.parameters}
            manifest = replace(manifest, contract=now.contract, unknown=now.unknown, **known_now)
            manifest.write(store.folder, DRAFT)
            transaction.compact(manifest, slots, known)
        store.sweep()
    return plan


def _arrange(
    folder: Folder, layout: Layout, alive: Mask, plan: Plan, progress: ReportProgress
) -> tuple[Manifest, list[RowFile]]:
    """Write the files of the next generation, complete and flushed; return its manifest and its row files.

    Args:
        folder: the index.
        layout: the generation that counts.
        alive: which of all docids ever given are left.
        plan: how to arrange them.
        progress: told about each phase.
    """
    generation = layout.manifest.generation + 1
    arrays: dict[str, NDArray[Any]] = {}
    if plan.nlist:  # first of all: no list of all rows takes memory beside the sample
        arrays["centroids.float32"] = _train(layout, alive, plan, progress)
    docids = np.flatnonzero(alive)
    order = layout.slots_of(docids)
    if plan.nlist:
        owners = _assign(layout, order, arrays["centroids.float32"], progress)
        arrays["offsets.int64"] = np.append(0, np.cumsum(np.bincount(owners, minlength=plan.nlist)))
        sequence = np.argsort(owners, kind="stable")
        del owners
        docids, order = docids[sequence], order[sequence]
    arrays["order.int64"] = docids
    arrays["places.int64"] = np.full(len(alive), -1)
    arrays["places.int64"][docids] = np.arange(len(docids))
    named = {generation_name(name, generation): array for name, array in arrays.items()}
    checksums = {name: _save(folder, name, array) for name, array in named.items()}
    files: list[RowFile] = []
    for source in layout.row_files:
        files.append(target := type(source).create(folder, source.width, generation))
        checksums[target.name] = move(source, target, order, source.stem.split(".")[0], progress)
    folder.sync()
    counts = {"compacted": len(docids), "purged": len(alive) - len(docids)}
    return replace(layout.manifest, generation=generation, plan=plan, checksums=checksums, **counts), files


def _catch_up(store: Store, layout: Layout, files: list[RowFile], slots: int, compacted: int) -> int:
    """Copy what others have added since, until it is little; return the slot up to which all is copied."""
    copied = slots
    while True:
        with store.snapshot() as snapshot:
            end = snapshot.slots
        if end - copied <= _FEW:
            return copied
        _copy(layout, files, copied, end, slots - compacted)
        copied = end


def _copy(layout: Layout, files: list[RowFile], start: int, end: int, shift: int) -> None:
    """Copy rows that were added to the end of new files, where their slots are lower by what was purged."""
    if start < end:
        for source, target in zip(layout.row_files, files, strict=True):
            target.append(start - shift, source.blocks(start, end))


def _train(layout: Layout, alive: Mask, plan: Plan, progress: ReportProgress) -> Float32:
    """Train centroids on a seeded sample of the int8 vectors, or of the bits where there is nothing else."""
    slots = layout.slots_of(np.flatnonzero(alive))
    size = min(len(slots), SAMPLE * plan.nlist)
    progress(Progress("training", 0, size))
    chosen = np.sort(np.random.default_rng(plan.seed).choice(slots, size, replace=False))
    del slots  # as much memory as a tenth of the codes
    sample = np.zeros((size, 8 * layout.codes.width), np.float32)
    for start in range(0, size, _BLOCK):
        stored = layout.vectors_at(chosen[start : start + _BLOCK])
        sample[start : start + _BLOCK, : stored.shape[1]] = stored
    centroids = train(sample, plan.nlist, plan.seed)
    progress(Progress("training", size, size))
    return centroids


def _assign(layout: Layout, slots: Slots, centroids: Float32, progress: ReportProgress) -> NDArray[np.int32]:
    sequence = np.argsort(slots)  # rows are read in the order they lie
    blocks = (layout.codes.read(slots[sequence[start : start + _BLOCK]]) for start in range(0, len(slots), _BLOCK))
    owners = np.empty(len(slots), np.int32)
    done = 0
    for found in assign(blocks, centroids, len(slots)):
        owners[sequence[done : done + len(found)]] = found
        done += len(found)
        progress(Progress("assigning", done, len(slots)))
    return owners


def _save(folder: Folder, name: str, array: NDArray[Any]) -> int:
    """Write an array's values, flush them, and return their CRC-32."""
    crc = 0
    with folder.open(name, "wb") as file:
        for start in range(0, len(array), _BLOCK):
            content = array[start : start + _BLOCK].astype(array.dtype.newbyteorder("<")).tobytes()
            crc = zlib.crc32(content, crc)
            write_all(file, content)
        os.fsync(file.fileno())
    return crc


def move(source: RowFile, target: RowFile, slots: Slots, what: str, progress: ReportProgress) -> int:
    """Write the rows at slots (n,), each another one, to a new file in this order; return their CRC-32.

    Where the order is not the source's own, every row first goes somewhere into its window of the target, as it comes;
    then each window is put in order in memory.

    Args:
        source: is read from its beginning to its end.
        target: is empty.
        slots: of the source.
        what: is moved; a part of the names of the phases.
        progress: told how many rows are done.

    Raises:
        IndexDamaged: the source is too short.
    """
    if (slots[1:] > slots[:-1]).all():
        return target.append(0, _in_order(source, slots, what, progress))
    window = max(1, _WINDOW // source.width)
    target.scatter(_spread(source, slots, window, what, progress))
    return target.append(0, _ordered(target, slots, window, what, progress))


def _in_order(source: RowFile, slots: Slots, what: str, progress: ReportProgress) -> Iterator[NDArray[Any]]:
    for start in range(0, len(slots), _BLOCK):
        yield source.read(slots[start : start + _BLOCK])
        progress(Progress(f"moving {what}", min(start + _BLOCK, len(slots)), len(slots)))


def _spread(
    source: RowFile, slots: Slots, window: int, what: str, progress: ReportProgress
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (row of the target, rows): as the source has them, each in the window it belongs to."""
    count = int(slots.max()) + 1
    windows = np.full(count, -1, np.int32)  # of each slot; -1: nobody wants it
    windows[slots] = np.repeat(np.arange(-(-len(slots) // window), dtype=np.int32), window)[: len(slots)]
    free = list(range(0, len(slots), window))
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        sequence = np.argsort(windows[start:end], kind="stable")
        owners, begins, counts = np.unique(windows[start:end][sequence], return_index=True, return_counts=True)
        block = source.read(np.arange(start, end))[sequence]
        for owner, begin, rows in zip(owners.tolist(), begins.tolist(), counts.tolist(), strict=True):
            if owner >= 0:
                yield free[owner], block[begin : begin + rows]
                free[owner] += rows
        progress(Progress(f"moving {what}", end, count))


def _ordered(target: RowFile, slots: Slots, window: int, what: str, progress: ReportProgress) -> Iterator[NDArray[Any]]:
    for start in range(0, len(slots), window):
        came = np.argsort(slots[start : start + window])
        yield in_sequence(target.read(np.arange(start, start + len(came))), came)
        progress(Progress(f"ordering {what}", start + len(came), len(slots)))
