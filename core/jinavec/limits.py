"""Limits on files that somebody else made, and the reader of small files that keeps them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from jinavec.errors import InvalidInput

LINE = 16 * 2**20
"""Bytes of a line of JSON or CSV, of a CSV row, and of a Parquet row on average: a record, text and vector included."""
DEPTH = 100
"""Levels of lists and objects inside each other, in metadata, profiles and configurations."""
TEXT_FILE = 2**30
"""Bytes of a text or Markdown file, decompressed: it is copied and checked as a whole before a passage is stored."""
SMALL_FILE = 64 * 2**10
"""Bytes of a profile or a configuration."""


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a small TOML file: a profile, a configuration.

    Raises:
        InvalidInput: it is no regular file, too large, nested too deeply, or no TOML.
        OSError: it cannot be read.
    """
    import tomllib

    file = Path(os.path.expanduser(path))
    if file.exists() and not file.is_file():  # a device or a pipe may have no end
        raise InvalidInput("not a regular file")
    with file.open("rb") as stream:
        content = stream.read(SMALL_FILE + 1)
    if len(content) > SMALL_FILE:
        raise InvalidInput(f"larger than {SMALL_FILE:,} bytes, as no such file is")
    if any(line.count(b".") > DEPTH for line in content.splitlines()):  # tomllib needs the square of that, and more
        raise InvalidInput(f"a line with more than {DEPTH} dots: nested deeper than any setting")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise InvalidInput(f"nested deeper than {DEPTH} levels") from None
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    if is_deeper_than(DEPTH, values):
        raise InvalidInput(f"nested deeper than {DEPTH} levels")
    return values


def is_deeper_than(depth: int, value: object) -> bool:
    """Return whether lists and objects are inside each other on more levels than ``depth``."""
    level = [value]
    for _ in range(depth + 1):
        level = [inner for outer in level for inner in members(outer)]
    return bool(level)


def members(value: Any) -> list[object]:
    """Return what a JSON list or object holds; of anything else, nothing."""
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return list(cast("list[object]", value)) if isinstance(value, (list, tuple)) else []
