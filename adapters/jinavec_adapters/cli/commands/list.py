"""jinavec list: the records of an index, one a line."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

from typer import Option

from jinavec_adapters.cli.flags import AsJson, EngineFlags, FilterFlags, Target
from jinavec_adapters.cli.output import aligned, beginning, one_line, record_json, say_json

_PAGE = 1000

Limit = Annotated[int | None, Option(min=1, metavar="N", help="Records listed at most. [default: all]")]


def list_records(
    target: Target, filters: FilterFlags, engine_flags: EngineFlags, limit: Limit = None, as_json: AsJson = False
) -> None:
    """List records: ids and first words.

    --json prints whole records.

    Examples:
        jinavec list faiss:notes --limit 20
        jinavec list faiss:notes --filter topic=cats --json
    """
    from jinavec import open_engine
    from jinavec_adapters.cli.engines import engine_options

    condition = filters.condition()
    with open_engine(target, options=engine_options(target, engine_flags.option)) as engine:
        left = limit
        for page in engine.iterate(_PAGE if limit is None else min(limit, _PAGE), filter=condition):
            records = list(islice(page, left))
            if as_json:
                for record in records:
                    say_json(record_json(record))
            else:
                aligned([(one_line(record.id), beginning(record.text)) for record in records])
            left = None if left is None else left - len(records)
            if left == 0:
                break
