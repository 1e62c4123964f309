"""jinavec get: whole records, by id."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Exit

from jinavec_adapters.cli.flags import AsJson, Target
from jinavec_adapters.cli.output import note, record_json, say, say_json, say_pairs

Ids = Annotated[list[str], Argument(metavar="ID", help="Ids of records.", show_default=False)]


def get(target: Target, ids: Ids, as_json: AsJson = False) -> None:
    """Print whole records by id.

    Ids that are not found are named on standard error; the exit code is 1 if none is found.

    Examples:
        jinavec get faiss:notes oven port
        jinavec get faiss:notes oven --json
    """
    from jinavec import open_engine

    with open_engine(target) as engine:
        found = engine.get(ids)
    for number, record in enumerate(found):
        if as_json:
            say_json(record_json(record))
            continue
        if number:
            say("")
        say_pairs({"id": record.id, "text": record.text, "metadata": dict(record.metadata)})
    for id in dict.fromkeys(ids):
        if id not in {record.id for record in found}:
            note(f"not found: {id}")
    if not found:
        raise Exit(1)
