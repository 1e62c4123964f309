"""What the command line prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, cast

from typer import echo

from jinavec_adapters.cli.verbosity import verbosity

if TYPE_CHECKING:
    from jinavec import Record

_SNIPPET = 100  # characters
_UNDECODED = re.compile("[\udc80-\udcff]")
"""What stands for the bytes of a name that are not UTF-8."""
_FOLDED = 20
"""The least width of a table's last column, in characters."""


def replace_unprintable() -> None:
    """Let what the encoding of standard output lacks be printed as a question mark."""
    output: Any = sys.stdout
    if isinstance(output, TextIOWrapper):
        output.reconfigure(errors="replace")


def one_line(text: str, width: int | None = None) -> str:
    r"""Return a text as one line without control characters, shortened to a width in characters.

    Bytes of a file's name that are not UTF-8 are shown as ``\xff``.
    """
    text = _UNDECODED.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def beginning(text: str) -> str:
    """Return the first words of a text, as one line."""
    return one_line(text[: 4 * _SNIPPET], _SNIPPET)


def note(message: str) -> None:
    """Print one line on standard error, unless --quiet was given."""
    if not verbosity().quiet:
        echo(f"jinavec: {one_line(message)}", err=True)


def say(message: str) -> None:
    """Print a line of data."""
    echo(message)


def say_json(values: Any) -> None:
    """Print one JSON value a line."""
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(values, ensure_ascii=not utf8) + "\n")


def record_json(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object."""
    return {"id": record.id, "text": record.text, "metadata": dict(record.metadata)}


def say_pairs(values: Mapping[str, Any]) -> None:
    """Print a line for each name and value; of a mapping inside, ``outer.inner``. Empty values are left out."""
    aligned([(f"{name}:", _shown(value)) for name, value in _flat(values)])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns: drawn on a terminal, aligned words elsewhere."""
    if sys.stdout.isatty():
        _drawn(columns, rows)
    else:
        aligned([columns, *rows])


def aligned(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of words, each column as wide as its widest word."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table whose last column alone is folded; a terminal too narrow for the others wraps the lines itself."""
    from rich.box import SIMPLE_HEAD  # here, since rich would slow every command
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawing = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns[:-1]:
        drawing.add_column(column, no_wrap=True)
    drawing.add_column(columns[-1], overflow="fold", min_width=_FOLDED)
    for row in rows:
        drawing.add_row(*map(Text, row))
    unfolded = [row[:-1] for row in (columns, *rows)]
    needed = sum(max(map(len, column)) + 2 for column in zip(*unfolded, strict=True)) + _FOLDED + 4
    Console(width=max(Console().width, needed)).print(drawing)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(cast("dict[str, Any]", value), f"{prefix}{name}.")
        elif value not in (None, "", []):
            pairs.append((prefix + name, value))
    return pairs


def _shown(value: Any) -> str:
    if type(value) is int:
        return f"{value:,}"
    text = str(value)
    return one_line(text) if text == text.strip() else repr(text)  # a prefix ends with a space
