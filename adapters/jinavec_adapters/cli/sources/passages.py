"""Text and Markdown files, split into passages."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import count
from typing import Any, BinaryIO

from jinavec.errors import InvalidRecord
from jinavec.extras import require
from jinavec_adapters.cli.sources.fields import Item
from jinavec_adapters.cli.sources.texts import TextFile

PASSAGE = 1000
"""Characters a passage has at most."""
_BLOCK = 1 << 15  # bytes split at a time: the time of the splitter grows with the square of a text without breaks


def check_text(stream: BinaryIO, name: str) -> None:
    """Read a file to its end, and go back to its beginning.

    Raises:
        InvalidRecord: it is not UTF-8.
    """
    for _ in _blocks(stream, name):
        pass
    stream.seek(0)


def read_passages(stream: BinaryIO, name: str, file: TextFile, *, markdown: bool) -> Iterator[Item]:
    """Split a UTF-8 file into passages: ids ``TAG/path#0``, ``TAG/path#1`` …; metadata ``root``, ``path``, ``passage``.

    Raises:
        InvalidRecord: it is not UTF-8, or its name is not Unicode.
        MissingExtra: semantic-text-splitter is not installed.
    """
    splitters = require("semantic_text_splitter", "text")
    splitter: Any = (splitters.MarkdownSplitter if markdown else splitters.TextSplitter)(PASSAGE)
    numbers = count()
    for block in _blocks(stream, name):
        for text in splitter.chunks(block):
            yield Item(name, file.record(next(numbers), text), size=len(text))


def _blocks(stream: BinaryIO, name: str) -> Iterator[str]:
    """Decode a file in pieces that end with a line, unless a line is longer than a piece."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    while True:
        data = stream.read(_BLOCK)
        data += stream.readline(_BLOCK)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            found = f"byte {error.object[error.start]:#04x} in line {line}"
            raise InvalidRecord(f"{name}: not UTF-8: {found}; --encoding NAME reads others") from error
        if not data:
            return
        line += data.count(b"\n")
        yield text
