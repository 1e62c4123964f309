"""ZstdFile: zstandard frames as a binary file that, like gzip's, refuses a truncated end."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from jinavec.extras import require

_STEP = 4096  # compressed bytes a step; a step of the most repetitive text is about half a megabyte of output


class ZstdFile(io.RawIOBase):
    """Decompresses one frame after another in bounded memory (RFC 8878).

    zstandard's own ``stream_reader`` ends quietly where a truncated file ends, hence this class.
    """

    def __init__(self, source: BinaryIO) -> None:
        zstandard = require("zstandard", "zstd")
        self._error: type[Exception] = zstandard.ZstdError
        self._decompressor: Any = zstandard.ZstdDecompressor(max_window_size=1 << 31)  # as `zstd --long=31` writes
        self._source = source
        self._frame: Any = None
        self._output = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with decompressed bytes and return their number; 0 at the end.

        Raises:
            EOFError: the file ends inside a frame.
            OSError: the file is damaged, or not zstd.
        """
        while not self._output:
            step = self._source.read(_STEP)
            if not step:
                return self._end()
            self._output = memoryview(self._decompress(step))
        count = min(len(buffer), len(self._output))
        buffer[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _decompress(self, step: bytes) -> bytes:
        pieces: list[bytes] = []
        try:
            while step:
                if self._frame is None or self._frame.eof:
                    self._frame = self._decompressor.decompressobj()
                pieces.append(self._frame.decompress(step))
                step = self._frame.unused_data if self._frame.eof else b""
        except self._error as error:
            raise OSError(str(error)) from error
        return b"".join(pieces)

    def _end(self) -> int:
        if self._frame is not None and not self._frame.eof:
            raise EOFError("the compressed file ends before its end mark")
        return 0

    def close(self) -> None:
        """Close the compressed file too."""
        self._source.close()
        super().close()
