"""Text and Markdown files, split into passages."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import count
from typing import Any, BinaryIO

from jinavec.errors import InvalidRecord
from jinavec.extras import require
from jinavec.records import Record
from jinavec_adapters.cli.sources.fields import Item
from jinavec_adapters.cli.sources.rejects import Rejects

PASSAGE = 1000
"""Characters a passage has at most."""
_BLOCK = 1 << 15  # bytes split at a time: the time of the splitter grows with the square of a text without breaks


def read_passages(stream: BinaryIO, name: str, rejects: Rejects, path: str, *, markdown: bool) -> Iterator[Item]:
    """Split a UTF-8 file into passages: ids ``path#0``, ``path#1`` …; metadata ``path`` and ``passage``.

    Raises:
        MissingExtra: semantic-text-splitter is not installed.
    """
    splitters = require("semantic_text_splitter", "text")
    splitter: Any = (splitters.MarkdownSplitter if markdown else splitters.TextSplitter)(PASSAGE)
    numbers = count()
    try:
        for block in _blocks(stream):
            for text in splitter.chunks(block):
                number = next(numbers)
                record = Record(f"{path}#{number}", text, {"path": path, "passage": number})
                yield Item(name, record, size=len(text))
    except InvalidRecord as error:
        rejects(name, str(error))


def _blocks(stream: BinaryIO) -> Iterator[str]:
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
            raise InvalidRecord(f"not UTF-8: byte {error.object[error.start]:#04x} in line {line}") from error
        if not data:
            return
        line += data.count(b"\n")
        yield text
