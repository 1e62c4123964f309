"""NumPy arrays: one vector a row, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from jinavec.vector_files import read_npy
from jinavec_adapters.cli.sources.fields import Row

_BATCH = 1024  # rows


def read_vectors(stream: BinaryIO, name: str) -> Iterator[Row]:
    """Read an .npy file of vectors, block by block.

    Raises:
        InvalidVectors, InvalidInput: the file holds none, or is damaged.
    """
    number = 0
    for block in read_npy(stream, name, _BATCH):
        for vector in block:
            number += 1
            yield Row(f"{name}, row {number}", {}, vector)
