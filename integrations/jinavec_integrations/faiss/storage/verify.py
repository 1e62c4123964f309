"""Verification: every byte of an index against the checksums that were made when it was written."""

from __future__ import annotations

from collections.abc import Iterator

from jinavec.errors import IndexDamaged
from jinavec_integrations.faiss.storage.folder import RECORDS, Folder
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.storage.records import Snapshot


def problems(layout: Layout, snapshot: Snapshot) -> Iterator[str]:
    """Yield what is wrong in an index, one line each.

    What compaction wrote is compared with the manifest, what was added since with SQLite's list of additions; records
    and their fields with the checksum in each record.
    """
    compacted = layout.manifest.compacted
    for file in layout.row_files:
        file.check(snapshot.slots)
    found = {file.name: file.checksum(0, compacted) for file in layout.row_files}
    found |= {file.name: file.checksum() for file in layout.arrays.values()}
    for name, expected in layout.manifest.checksums.items():
        if found.get(name) != expected:
            yield f"{name}: its checksum does not match"
    covered = compacted
    for start, rows, *expected in snapshot.blocks():
        if start != covered:
            break
        for file, crc in zip(layout.row_files, expected, strict=False):
            if file.checksum(start, rows) != crc:
                yield f"{file.name}: rows {start} to {start + rows - 1}: their checksum does not match"
        covered = start + rows
    if covered != snapshot.slots:
        yield f"{RECORDS}: it knows the checksums of {covered} rows, not of {snapshot.slots}"
    for problem in snapshot.verify():
        yield f"{RECORDS}: {problem}"


def require_sound(folder: Folder, layout: Layout, snapshot: Snapshot) -> None:
    """Raise what is wrong.

    Raises:
        IndexDamaged: each of the first ten problems.
    """
    found = list(problems(layout, snapshot))
    if found:
        more = f"; and {len(found) - 10} more" if len(found) > 10 else ""
        raise IndexDamaged(f"{folder} is damaged: {'; '.join(found[:10])}{more}")
