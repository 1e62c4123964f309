"""View: what a search may find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jinavec.vectors import Bits, Float32, binarize
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.types import DocIds, Mask, Slots

Found = tuple[DocIds, Float32]
"""Docids and cosines of the best records, best first; of equal cosines, the older record first."""


@dataclass(frozen=True)
class View:
    """What a search may find: a layout as of a moment, less what is deleted or does not pass the filter."""

    layout: Layout
    slots: int
    """Rows in the row files."""
    count: int
    """Records that may be found."""
    passing: Mask | None
    """Which docids may be found; None: all of them."""

    @property
    def codes(self) -> Bits:
        """The codes (slots, bytes) of all rows."""
        return self.layout.codes.rows(self.slots)

    @property
    def passing_slots(self) -> Mask | None:
        """Which slots may be found; None: all of them."""
        if self.passing is None or not self.layout.manifest.generation:
            return self.passing
        manifest = self.layout.manifest
        added = self.passing[manifest.compacted + manifest.purged :]
        return np.concatenate([self.passing[self.layout.compacted_docids], added])

    @property
    def all_slots(self) -> Slots:
        """The slots (count,) that may be found, ascending."""
        if self.passing is None:
            return np.arange(self.slots)
        return np.sort(self.layout.slots_of(np.flatnonzero(self.passing)))


def pack(vectors: Float32) -> Bits:
    """Pack sign bits, in whole bytes: missing dimensions count as zeros."""
    return binarize(padded(vectors))


def padded(vectors: Float32) -> Float32:
    """Fill vectors up with zeros to a multiple of eight dimensions."""
    missing = -vectors.shape[-1] % 8
    return np.pad(vectors, [(0, 0)] * (vectors.ndim - 1) + [(0, missing)]) if missing else vectors
