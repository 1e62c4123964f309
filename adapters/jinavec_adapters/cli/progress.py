"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from jinavec.ingest import Progress, ReportProgress
from jinavec_adapters.cli.sources import Sources


@contextmanager
def progress_bar(sources: Sources | None = None) -> Generator[ReportProgress]:
    """Yield a function to call with each event; it draws one bar for each phase.

    Args:
        sources: what is read, where that is the work: the bar then shows the part of their bytes that is read.
    """
    if not sys.stderr.isatty():
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    words = TextColumn("{task.description}"), TextColumn("{task.fields[records]}")
    with Bars(
        words[0], BarColumn(), words[1], TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    ) as bars:
        phases: dict[str, TaskID] = {}

        def show(event: Progress) -> None:
            if event.phase not in phases:
                phases[event.phase] = bars.add_task(event.phase, records="")
            reading = sources is not None and not event.total
            bars.update(
                phases[event.phase],
                completed=sources.position if sources is not None and reading else event.done,
                total=sources.size if sources is not None and reading else event.total or None,
                records=_records(max(event.done, event.embedded), bars.tasks[phases[event.phase]].elapsed),
            )

        yield show


def _records(done: int, seconds: float | None) -> str:
    return f"{done} records, {done / (seconds or 1):.0f}/s"
