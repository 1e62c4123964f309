"""jinavec compact: free the space of deleted records."""

from __future__ import annotations

from jinavec_adapters.cli.flags import EngineFlags, Target
from jinavec_adapters.cli.output import say


def compact(target: Target, engine_flags: EngineFlags) -> None:
    """Free the space of deleted records.

    The index is rewritten in the layout that suits its size. Readers go on meanwhile. It needs as much free space as
    the index takes.

    Examples:
        jinavec compact faiss:notes
        jinavec compact faiss:notes --option plan=lists
    """
    from jinavec import open_engine
    from jinavec_adapters.cli.engines import engine_options, require_capability
    from jinavec_adapters.cli.progress import progress_bar

    require_capability(target, "compact")
    options = engine_options(target, engine_flags.option)
    with open_engine(target, options=options) as engine, progress_bar() as show:
        before = engine.info()["rows"]
        plan = engine.compact(show)
        freed = before - engine.info()["rows"]
        say(f"compacted {target}: {engine.count()} records, {plan}, {freed} rows freed")
