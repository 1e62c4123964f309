"""Layout: where the rows of one generation lie, and which record each belongs to.

Until the first compaction the slot of a record is its docid. A compaction arranges the rows that are left, in lists or
in the order of their docids; ``order`` gives the docid at each slot, ``places`` the slot of each docid. Rows that are
added later follow them: their slot is their docid less those that compactions have purged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jinavec.errors import IndexDamaged, InvalidVectors
from jinavec.vectors import Float32, normalize, unpack
from jinavec_integrations.faiss.storage.folder import Folder, generation_name
from jinavec_integrations.faiss.storage.manifest import Manifest
from jinavec_integrations.faiss.storage.rowfile import ArrayFile, CodeFile, MappedFile, VectorFile, code_width
from jinavec_integrations.faiss.types import DocIds, Mask, Slots


@dataclass(frozen=True, eq=False)
class Layout:
    """The row files of one generation, opened."""

    manifest: Manifest
    codes: CodeFile
    vectors: VectorFile | None
    arrays: dict[str, ArrayFile]
    """What a compaction wrote, by name: order and places; with lists, centroids and offsets."""
    derived: dict[str, Any] = field(default_factory=dict[str, Any])
    """What searches made of the files, to use it again."""

    @classmethod
    def open(cls, folder: Folder, manifest: Manifest) -> Layout:
        """Open the files of the manifest's generation; nothing is read.

        Raises:
            IndexDamaged: a file is missing, or not what the manifest says.
        """
        dimension, generation, nlist = manifest.contract.dimension, manifest.generation, manifest.plan.nlist
        arrays: dict[str, ArrayFile] = {}

        def add(name: str, kind: type[np.int64 | np.float32], *shape: int) -> None:
            arrays[name] = ArrayFile(folder, generation_name(name, generation), kind, shape)

        if generation:
            add("order.int64", np.int64, manifest.compacted)
            add("places.int64", np.int64, manifest.compacted + manifest.purged)
        if generation and nlist:
            add("centroids.float32", np.float32, nlist, 8 * code_width(dimension))
            add("offsets.int64", np.int64, nlist + 1)
        return cls(
            manifest,
            CodeFile(folder, code_width(dimension), generation),
            VectorFile(folder, dimension, generation) if manifest.keeps_vectors else None,
            arrays,
        )

    @property
    def has_lists(self) -> bool:
        """Whether rows lie in inverted lists."""
        return "offsets.int64" in self.arrays

    @cached_property
    def offsets(self) -> Slots:
        """The bounds (nlist + 1,) of the lists, in slots; from 0 to the number of compacted rows.

        Raises:
            IndexDamaged: they are none.
        """
        file = self.arrays["offsets.int64"]
        offsets = np.array(file.values)  # a copy, so that it stays what was checked
        if offsets[0] != 0 or offsets[-1] != self.manifest.compacted or (np.diff(offsets) < 0).any():
            raise IndexDamaged(f"{file} is damaged: not the bounds of lists")
        return offsets

    @property
    def centroids(self) -> Float32:
        """The centroids (nlist, bits) of the lists."""
        return self.arrays["centroids.float32"].values

    def check_sizes(self, slots: int) -> None:
        """Make sure that all files are as large as so many rows need.

        Raises:
            IndexDamaged: one does not, or fewer rows are said to be there than were compacted.
        """
        if slots < self.manifest.compacted:
            raise IndexDamaged(f"{self.codes.folder} is damaged: records.sqlite: {slots} rows are not all there")
        for array in self.arrays.values():
            array.check()
        for file in self.row_files:
            file.check_size(file.offset(slots))

    def check(self, slots: int) -> None:
        """Make sure that the row files are what they should be, sizes included.

        Raises:
            IndexDamaged: they are not.
        """
        self.check_sizes(slots)
        for file in self.row_files:
            file.check(slots)

    @property
    def row_files(self) -> list[CodeFile | VectorFile]:
        """The files with a row a record."""
        return [self.codes] if self.vectors is None else [self.codes, self.vectors]

    def truncate(self, slots: int) -> None:
        """Cut the row files after so many rows."""
        for file in self.row_files:
            file.truncate(slots)

    def close(self) -> None:
        """Release the memory maps. Idempotent."""
        files: list[MappedFile] = [*self.row_files, *self.arrays.values()]
        for file in files:
            file.close()
        self.derived.clear()

    def docids_at(self, slots: Slots) -> DocIds:
        """Return the docids at slots."""
        if not self.manifest.generation:
            return slots
        docids = slots + self.manifest.purged
        old = np.flatnonzero(slots < self.manifest.compacted)
        docids[old] = self._known(self.arrays["order.int64"].values[slots[old]])
        return docids

    @property
    def compacted_docids(self) -> DocIds:
        """The docid at each compacted slot."""
        assert self._has_sound_order
        return self.arrays["order.int64"].values

    @cached_property
    def _has_sound_order(self) -> bool:
        self._known(self.arrays["order.int64"].values)
        return True

    def _known(self, docids: DocIds) -> DocIds:
        least = self.manifest.compacted + self.manifest.purged
        if len(docids) and not 0 <= docids.min() <= docids.max() < least:
            raise IndexDamaged(f"{self.codes.folder} is damaged: order.int64 names rows that were never there")
        return docids

    def slots_of(self, docids: DocIds) -> Slots:
        """Return the slots of docids that have one."""
        compacted, purged = self.manifest.compacted, self.manifest.purged
        if not self.manifest.generation:
            return docids
        slots = docids - purged
        old = np.flatnonzero(docids < compacted + purged)
        slots[old] = self.arrays["places.int64"].values[docids[old]]
        if len(old) and not 0 <= slots[old].min() <= slots[old].max() < compacted:
            raise IndexDamaged(f"{self.codes.folder} is damaged: places.int64 names rows that are not there")
        return slots

    def vectors_of(self, docids: DocIds) -> Float32:
        """Return the unit vectors (n, dimension) of docids that have a slot; see ``vectors_at``."""
        slots = self.slots_of(docids)
        sequence = np.argsort(slots)
        found = np.empty((len(slots), self.manifest.contract.dimension), np.float32)
        found[sequence] = self.vectors_at(slots[sequence])
        return found

    def vectors_at(self, slots: Slots) -> Float32:
        """Return the unit vectors (n, dimension) at slots (ascending).

        As exact as int8 keeps them; of an index that keeps bits alone, their directions as +1 and -1.
        """
        if self.vectors is None:
            return normalize(unpack(self.codes.read(slots))[:, : self.manifest.contract.dimension])
        try:
            return normalize(self.vectors.read(slots))
        except InvalidVectors as error:  # an int8 vector always has a component of 127 or -127
            raise IndexDamaged(f"{self.vectors} is damaged: {error}") from error

    def not_purged(self, docids: int) -> Mask:
        """Return which of the first docids no compaction has removed."""
        mask = np.ones(docids, np.bool_)
        if self.manifest.generation:
            places = self.arrays["places.int64"].values[:docids]
            mask[: len(places)] = places >= 0
        return mask
