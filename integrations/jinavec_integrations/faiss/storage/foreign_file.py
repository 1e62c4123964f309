"""FAISS's own index files, recognized by their first bytes: FAISS itself is not loaded for that."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Literal

_TYPE = re.compile(rb"I[A-Za-z0-9]{3}")
"""Four letters say of which type an index is (faiss/impl/index_write.cpp); the binary ones begin with IB."""
_WIDEST = 2**24
"""More dimensions than any index has, and fewer than four letters of a text would be as a number."""


def faiss_file(path: Path) -> Literal["binary", "float"] | None:
    """Return which kind of vectors a FAISS index file holds; None for any other file, or none.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        return None
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8 or not _TYPE.fullmatch(start[:4]) or not 0 < struct.unpack("<i", start[4:])[0] <= _WIDEST:
        return None
    return "binary" if start.startswith(b"IB") else "float"
