"""What the command line prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from typer import echo

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.lines import one_line
from jinavec_adapters.cli.sources import BadRecords

_FOLDED = 20
"""The least width of a table's last column, in characters."""


def note(message: str) -> None:
    """Say something beside the data, in one line on standard error."""
    echo(f"jinavec: {one_line(message)}", err=True)


def say(message: str) -> None:
    """Print a line of data."""
    echo(message)


def say_json(values: Any) -> None:
    """Print one JSON value a line."""
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(values, ensure_ascii=not utf8) + "\n")


def report_skipped(bad: BadRecords, used: int) -> None:
    """Name the first of the records that were skipped.

    Raises:
        InvalidInput: nothing else was there.
    """
    if not used:
        raise InvalidInput(f"no record could be used; {bad.count} were skipped, the first: {bad.reasons[0]}")
    for reason in bad.reasons:
        note(f"skipped {reason}")
    if bad.count > len(bad.reasons):
        note(f"skipped {bad.count - len(bad.reasons)} more")


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
