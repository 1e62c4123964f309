"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from jinavec_adapters.cli.sources import Sources

Show = Callable[[int], None]
"""Called with the number of records done so far."""


Report = Callable[[str, int, int], None]
"""Called with a phase, the rows done in it, and the rows there are."""


@contextmanager
def phases() -> Generator[Report]:
    """Show a bar for each phase of a long work."""
    if not sys.stderr.isatty():
        yield lambda phase, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase)
            bar.update(tasks[phase], completed=done, total=total)

        yield show


@contextmanager
def progress(sources: Sources, what: str) -> Generator[Show]:
    """Show records done and their rate; and the part of the bytes read, where their number is known."""
    if not sys.stderr.isatty():
        yield lambda records: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), "{task.fields[records]}", TimeElapsedColumn(), TimeRemainingColumn())
    shown = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    with Progress(*shown, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=sources.size, records="")

        def show(records: int) -> None:
            rate = records / (bar.tasks[0].elapsed or 1)
            bar.update(task, completed=sources.position, records=f"{records} records, {rate:.0f}/s")

        yield show
