"""Verification: every byte of an index against the checksums that were made when it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jinavec.errors import IndexDamaged
from jinavec_integrations.faiss.layout import Layout
from jinavec_integrations.faiss.records import Snapshot
from jinavec_integrations.faiss.rowfile import RowFile
from jinavec_integrations.faiss.settle import file_checksum


def problems(folder: Path, layout: Layout, snapshot: Snapshot) -> Iterator[str]:
    """Yield what is wrong in an index, one line each.

    What compaction wrote is compared with the manifest, what was added since with SQLite's list of additions; records
    and their fields with the checksum in each record.
    """
    settled = layout.manifest.settled
    row_files: list[RowFile] = [file for file in (layout.codes, layout.vectors) if file is not None]
    for file in row_files:
        file.check(snapshot.places)
    for name, expected in layout.manifest.checksums.items():
        file = next((file for file in row_files if file.path.name == name), None)
        found = file_checksum(folder / name) if file is None else file.checksum(0, settled)
        if found != expected:
            yield f"{name}: its checksum does not match"
    covered = settled
    for start, rows, *expected in snapshot.blocks():
        if start != covered:
            break
        for file, crc in zip(row_files, expected, strict=False):
            if file.checksum(start, rows) != crc:
                yield f"{file.path.name}: rows {start} to {start + rows - 1}: their checksum does not match"
        covered = start + rows
    if covered != snapshot.places:
        yield f"records.sqlite: it knows the checksums of {covered} rows, not of {snapshot.places}"
    for problem in snapshot.verify():
        yield f"records.sqlite: {problem}"


def require_sound(folder: Path, layout: Layout, snapshot: Snapshot) -> None:
    """Raise what is wrong.

    Raises:
        IndexDamaged: each of the first ten problems.
    """
    found = list(problems(folder, layout, snapshot))
    if found:
        more = f"; and {len(found) - 10} more" if len(found) > 10 else ""
        raise IndexDamaged(f"{folder} is damaged: {'; '.join(found[:10])}{more}")
