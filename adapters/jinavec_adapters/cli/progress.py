"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from jinavec.ingest import Progress, ReportProgress
from jinavec_adapters.cli.sources import Sources
from jinavec_adapters.cli.verbosity import verbosity


@contextmanager
def progress_bar(sources: Sources | None = None) -> Generator[ReportProgress]:
    """Yield a function to call with each event; it draws one bar for each phase.

    Args:
        sources: what is read, where that is the work: the bar then shows the part of their bytes that is read.
    """
    if not sys.stderr.isatty() or verbosity().quiet or verbosity().verbose:
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    phase, records = TextColumn("{task.description}"), TextColumn("{task.fields[records]}")
    columns = phase, BarColumn(), records, TimeElapsedColumn(), TimeRemainingColumn()
    with Bars(*columns, console=Console(stderr=True)) as bars:
        phases: dict[str, TaskID] = {}

        def show(event: Progress) -> None:
            if event.phase not in phases:
                phases[event.phase] = bars.add_task(event.phase, records="")
            phase = phases[event.phase]
            if sources is not None and not event.total:
                completed, total = sources.position, sources.size
            else:
                completed, total = event.done, event.total or None
            records = max(event.done, event.embedded)
            rate = records / (bars.tasks[phase].elapsed or 1)
            bars.update(phase, completed=completed, total=total, records=f"{records} records, {rate:.0f}/s")

        yield show
