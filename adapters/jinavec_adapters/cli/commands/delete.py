"""jinavec delete: take records out of an index."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from jinavec_adapters.cli.flags import FilterFlags, Target
from jinavec_adapters.cli.output import note, say
from jinavec_adapters.cli.usage import UsageError

Ids = Annotated[list[str] | None, Argument(metavar="[ID]...", help="Ids of records.", show_default=False)]


def delete(target: Target, filters: FilterFlags, ids: Ids = None) -> None:
    """Delete records by id or filter.

    Ids that are not found are named on standard error.

    Examples:
        jinavec delete faiss:notes oven port
        jinavec delete faiss:notes --filter topic=cats
    """
    from jinavec import open_engine

    condition = filters.condition()
    if not ids and condition is None:
        raise UsageError("Missing argument 'ID' or option '--filter'")
    if ids and condition is not None:
        raise UsageError("IDs and --filter are mutually exclusive")
    missing: list[str] = []
    with open_engine(target) as engine:
        if condition is not None:
            deleted = engine.delete(filter=condition)
        else:
            given = list(dict.fromkeys(ids or ()))
            found = {record.id for record in engine.get(given)}
            missing = [id for id in given if id not in found]
            deleted = engine.delete(given)
    say(f"deleted {deleted} records from {target}")
    for id in missing:
        note(f"not found: {id}")
