"""Settling: the row files written anew, without dead rows, in the order of the plan. The old ones stay untouched."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.ingest import Progress, ReportProgress
from jinavec.vectors import Float32, normalize, unpack
from jinavec_integrations.faiss.disk import sync_folder
from jinavec_integrations.faiss.filters import Mask
from jinavec_integrations.faiss.generations import FILES, named, remove_others
from jinavec_integrations.faiss.layout import Layout
from jinavec_integrations.faiss.lists import SAMPLE, assign, train
from jinavec_integrations.faiss.manifest import DRAFT, NAME, Manifest, read_manifest
from jinavec_integrations.faiss.moving import BLOCK, move
from jinavec_integrations.faiss.plan import Plan
from jinavec_integrations.faiss.rowfile import CodeFile, Rows, VectorFile


def settle(folder: Path, layout: Layout, alive: Mask, plan: Plan, progress: ReportProgress) -> Manifest:
    """Write the next generation, complete and flushed; it counts once the state in SQLite says so.

    Args:
        folder: the index.
        layout: the generation that counts.
        alive: which of all row numbers ever given are left.
        plan: how to arrange them.
        progress: told about each phase.

    Returns:
        The manifest of the new generation.
    """
    generation = layout.manifest.generation + 1
    remove_others(folder, generation - 1)
    arrays: dict[str, NDArray[Any]] = {}
    if plan.lists:  # first of all: no list of all rows takes memory beside the sample
        arrays["centroids.float32"] = _train(layout, alive, plan, progress)
    numbers = np.flatnonzero(alive)
    order = layout.places_of(numbers)
    if plan.lists:
        owners = _assign(layout, order, arrays["centroids.float32"], progress)
        arrays["offsets.int64"] = np.append(0, np.cumsum(np.bincount(owners, minlength=plan.lists)))
        sequence = np.argsort(owners, kind="stable")
        del owners
        numbers, order = numbers[sequence], order[sequence]
    arrays["order.int64"] = numbers
    arrays["places.int64"] = np.full(len(alive), -1)
    arrays["places.int64"][numbers] = np.arange(len(numbers))
    checksums = {named(name, generation): _save(folder / named(name, generation), a) for name, a in arrays.items()}
    codes = CodeFile(folder, layout.codes.width, generation)
    checksums[codes.path.name] = move(layout.codes, codes, order, "codes", progress)
    if layout.vectors is not None:
        vectors = VectorFile(folder, layout.vectors.width, generation)
        checksums[vectors.path.name] = move(layout.vectors, vectors, order, "vectors", progress)
    sync_folder(folder)
    return replace(
        layout.manifest,
        generation=generation,
        plan=plan,
        settled=len(numbers),
        gone=len(alive) - len(numbers),
        checksums=checksums,
    )


def finish_compaction(folder: Path, generation: int) -> Manifest:
    """Bring to its end, or undo, what a compaction left that was killed; return the manifest that counts."""
    manifest = read_manifest(folder, generation)
    draft = folder / DRAFT
    if draft.is_file():
        if Manifest.read(folder).generation == generation:
            draft.unlink()
        else:
            os.replace(draft, folder / NAME)
        sync_folder(folder)
    for path in (folder / f"{name}.new" for name in (DRAFT, NAME)):
        path.unlink(missing_ok=True)
    for name in FILES:
        (folder / f"{named(name, generation + 1)}.new").unlink(missing_ok=True)
    remove_others(folder, generation)
    return manifest


def _train(layout: Layout, alive: Mask, plan: Plan, progress: ReportProgress) -> Float32:
    """Train centroids on a seeded sample of the int8 copies, or of the bits where there is nothing else."""
    places = layout.places_of(np.flatnonzero(alive))
    size = min(len(places), SAMPLE * plan.lists)
    progress(Progress("training", 0, size))
    chosen = np.sort(np.random.default_rng(plan.seed).choice(places, size, replace=False))
    del places  # as much memory as a tenth of the codes
    if layout.vectors is None:
        sample = normalize(unpack(layout.codes.read(chosen)))
    else:
        sample = np.zeros((size, 8 * layout.codes.width), np.float32)
        for start in range(0, size, BLOCK):
            stored = layout.vectors.read(chosen[start : start + BLOCK])
            sample[start : start + BLOCK, : stored.shape[1]] = normalize(stored)
    centroids = train(sample, plan.lists, plan.seed)
    progress(Progress("training", size, size))
    return centroids


def _assign(layout: Layout, places: Rows, centroids: Float32, progress: ReportProgress) -> NDArray[np.int32]:
    sequence = np.argsort(places)  # rows are read in the order they lie
    blocks = (layout.codes.read(places[sequence[start : start + BLOCK]]) for start in range(0, len(places), BLOCK))
    owners = np.empty(len(places), np.int32)
    done = 0
    for found in assign(blocks, centroids, len(places)):
        owners[sequence[done : done + len(found)]] = found
        done += len(found)
        progress(Progress("assigning", done, len(places)))
    return owners


def _save(path: Path, array: NDArray[Any]) -> int:
    """Write an array's values, flush them, and return their CRC-32."""
    crc = 0
    with path.open("wb") as file:
        for start in range(0, len(array), BLOCK):
            content = array[start : start + BLOCK].astype(array.dtype.newbyteorder("<")).tobytes()
            crc = zlib.crc32(content, crc)
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return crc


def file_checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while content := file.read(2**20):
            crc = zlib.crc32(content, crc)
    return crc
