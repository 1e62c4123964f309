"""Lines of bounded length, from files of any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from jinavec.limits import LINE

_SKIPPED = 2**20  # bytes of an overlong line read at a time

TOO_LONG = f"longer than {LINE:,} bytes"


def bounded_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line with its end; None in place of one that is longer than ``LINE``, which is read and forgotten."""
    while line := stream.readline(LINE + 1):
        if len(line) <= LINE:
            yield line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = stream.readline(_SKIPPED)
