"""Rows in another order, against NumPy's indexing."""

from __future__ import annotations

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinavec.errors import IndexDamaged
from jinavec.ingest import Progress
from jinavec_integrations.faiss import compaction
from jinavec_integrations.faiss.compaction import move
from jinavec_integrations.faiss.storage.folder import Folder
from jinavec_integrations.faiss.storage.rowfile import CodeFile, VectorFile


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    kept=st.floats(0, 1),
    window=st.integers(1, 300),
    block=st.integers(1, 120),
    kind=st.sampled_from([CodeFile, VectorFile]),
    shuffled=st.booleans(),
)
def test_rows_come_in_the_order_asked(
    seed: int, count: int, kept: float, window: int, block: int, kind: type[CodeFile | VectorFile], shuffled: bool
) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(0, 100, (count, 8)).astype(kind.dtype)
    places = random.permutation(count)[: int(kept * count)]
    if not shuffled:
        places = np.sort(places)
    told: list[Progress] = []
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "_WINDOW", 8 * window)
        patch.setattr(compaction, "_BLOCK", block)
        opened = Folder(Path(folder))
        source, target = kind.create(opened, 8), kind.create(opened, 8, 1)
        source.append(0, [rows])
        crc = move(source, target, places, "rows", told.append)
        target.check(len(places))
        assert target.size == kind.start + 8 * len(places)
        np.testing.assert_array_equal(target.read(np.arange(len(places))), rows[places])
        assert crc == zlib.crc32(rows[places].tobytes())
    for phase in {event.phase for event in told}:
        done = [(event.done, event.total) for event in told if event.phase == phase]
        assert done == sorted(done) and done[-1][0] == done[-1][1]


def forget(event: Progress) -> None:
    """Is told of the progress."""


def test_a_source_that_is_too_short(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    source = VectorFile.create(folder, 8)
    source.append(0, [np.zeros((10, 8), np.int8)])
    with pytest.raises(IndexDamaged, match="truncated"):
        move(source, VectorFile.create(folder, 8, 1), np.array([3, 12, 1]), "rows", forget)
