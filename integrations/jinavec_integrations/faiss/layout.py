"""Layout: where the rows of one generation lie, and which record each belongs to.

Until the first compaction the place of a row is its number. A compaction arranges the rows that are left, in lists or
in the order of their numbers; ``order`` gives the number at each place, ``places`` the place of each number. Rows added
later follow them: their place is their number less those that are gone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import IndexDamaged, InvalidVectors
from jinavec.vectors import Float32, normalize, unpack
from jinavec_integrations.faiss.filters import Mask
from jinavec_integrations.faiss.generations import named
from jinavec_integrations.faiss.listed import ListedCodes
from jinavec_integrations.faiss.lists import Lists
from jinavec_integrations.faiss.manifest import Manifest
from jinavec_integrations.faiss.rowfile import CodeFile, Rows, VectorFile, code_width


@dataclass(frozen=True)
class Layout:
    """The row files of one generation, opened."""

    manifest: Manifest
    codes: CodeFile
    vectors: VectorFile | None
    lists: Lists | None
    order: Rows
    """(settled,) the number at each settled place."""
    places: Rows
    """(settled + gone,) the place of each number; -1: gone."""

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Layout:
        """Open the files of the manifest's generation by memory map; nothing is read but headers.

        Raises:
            IndexDamaged: a file is missing, or not what the manifest says.
        """
        dimension, generation = manifest.contract.dimension, manifest.generation
        settled, lists = manifest.settled, None
        order = places = np.empty(0, np.int64)
        if generation:
            order = load_array(folder / named("order.int64", generation), np.int64, (settled,))
            places = load_array(folder / named("places.int64", generation), np.int64, (settled + manifest.gone,))
        if generation and manifest.plan.lists:
            shape = (manifest.plan.lists, 8 * code_width(dimension))
            centroids = load_array(folder / named("centroids.float32", generation), np.float32, shape)
            offsets = load_array(folder / named("offsets.int64", generation), np.int64, (len(centroids) + 1,))
            if offsets[0] != 0 or offsets[-1] != settled or (np.diff(offsets) < 0).any():
                raise IndexDamaged(f"{folder / named('offsets.int64', generation)} is damaged: not the bounds of lists")
            lists = Lists(centroids, np.array(offsets))
        return cls(
            manifest,
            CodeFile(folder, code_width(dimension), generation),
            VectorFile(folder, dimension, generation) if manifest.keeps_vectors else None,
            lists,
            order,
            places,
        )

    @cached_property
    def listed(self) -> ListedCodes:
        """The codes in lists, ready to be scanned; made at the first search."""
        assert self.lists is not None, "only what is in lists can be scanned by lists"
        return ListedCodes(self.codes.rows(self.manifest.settled), self.lists.offsets)

    def map(self, rows: int) -> None:
        """Map the row files now: from then on a compaction may remove them.

        Raises:
            FileNotFoundError: one has done so already.
            IndexDamaged: they do not hold so many rows, or fewer are said to be there than were settled.
        """
        self._check_settled(rows)
        self.codes.rows(rows)
        if self.vectors is not None:
            self.vectors.rows(rows)

    def check(self, rows: int) -> None:
        """Make sure that the row files are what they should be and hold so many rows.

        Raises:
            IndexDamaged: they do not, or fewer rows are said to be there than were settled.
        """
        self._check_settled(rows)
        self.codes.check(rows)
        if self.vectors is not None:
            self.vectors.check(rows)

    def _check_settled(self, rows: int) -> None:
        if rows < self.manifest.settled:
            raise IndexDamaged(f"{self.codes.path.parent} is damaged: records.sqlite: {rows} rows are not all there")

    def close(self) -> None:
        """Release the memory maps. Idempotent."""
        self.codes.close()
        if self.vectors is not None:
            self.vectors.close()

    def numbers_at(self, places: Rows) -> Rows:
        """Return the row numbers at places."""
        if not self.manifest.generation:
            return places
        numbers = places + self.manifest.gone
        old = np.flatnonzero(places < self.manifest.settled)
        numbers[old] = self._known(self.order[places[old]])
        return numbers

    @cached_property
    def settled_numbers(self) -> Rows:
        """The number at each settled place: all of ``order``, looked through once."""
        return self._known(self.order)

    def _known(self, numbers: Rows) -> Rows:
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.manifest.settled + self.manifest.gone:
            raise IndexDamaged(f"{self.codes.path.parent} is damaged: order.int64 names rows that were never there")
        return numbers

    def places_of(self, numbers: Rows) -> Rows:
        """Return the places of row numbers that have one."""
        settled, gone = self.manifest.settled, self.manifest.gone
        if not self.manifest.generation:
            return numbers
        places = numbers - gone
        old = np.flatnonzero(numbers < settled + gone)
        places[old] = self.places[numbers[old]]
        if len(old) and not 0 <= places[old].min() <= places[old].max() < settled:
            raise IndexDamaged(f"{self.codes.path.parent} is damaged: places.int64 names rows that are not there")
        return places

    def vectors_of(self, numbers: Rows) -> Float32:
        """Return the unit vectors (n, dimension) of row numbers that have a place.

        As exact as int8 keeps them; of an index that keeps bits alone, their directions as +1 and -1.
        """
        places = self.places_of(numbers)
        if self.vectors is None:
            return normalize(unpack(self.codes.gather(places))[:, : self.manifest.contract.dimension])
        try:
            return normalize(self.vectors.gather(places))
        except InvalidVectors as error:  # an int8 vector always has a component of 127 or -127
            raise IndexDamaged(f"{self.vectors.path} is damaged: {error}") from error

    def existing(self, rows: int) -> Mask:
        """Return which of so many numbers no compaction has removed."""
        mask = np.ones(rows, np.bool_)
        mask[: len(self.places)] = self.places[:rows] >= 0
        return mask


def load_array(path: Path, kind: type[np.int64 | np.float32], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a file of plain values, little-endian and without a header: there is nothing in it to misread.

    Raises:
        IndexDamaged: it is missing, or of another size than expected.
    """
    dtype = np.dtype(kind).newbyteorder("<")
    expected = math.prod(shape) * dtype.itemsize
    size = path.stat().st_size if path.is_file() else -1
    if size != expected:
        raise IndexDamaged(f"{path} is missing" if size < 0 else f"{path} has {size} bytes, {expected} are expected")
    return np.memmap(path, dtype, "r", shape=shape).view(np.ndarray) if size else np.empty(shape, dtype)
