"""jinavec search: answer a question from an index."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jinavec import Hit, open_engine
from jinavec.filters import parse_expressions
from jinavec_adapters.cli.encoders import Existing, load, settle
from jinavec_adapters.cli.engineoptions import engine_options
from jinavec_adapters.cli.flags import EncoderFlags
from jinavec_adapters.cli.lines import one_line
from jinavec_adapters.cli.output import aligned, note, say_json, table

_SNIPPET = 100  # characters


def run_search(
    target: str,
    question: str,
    k: int,
    expressions: Sequence[str],
    options: Sequence[str],
    as_json: bool,
    asked: EncoderFlags,
) -> None:
    """Print the best records for a question; see ``jinavec search --help``."""
    condition = parse_expressions(expressions) if expressions else None
    with open_engine(target, options=engine_options(target, options)) as engine:
        with load(settle(asked, Existing(engine.contract, engine.settings))) as encoder:
            engine.contract.check(encoder.contract)
            query = encoder.encode_queries([question])[0]
        hits = engine.search(query, k, condition)
    if not hits:
        note("no hits")
    elif as_json:
        for hit in hits:
            say_json(_plain(hit))
    else:
        _print(hits)


def _plain(hit: Hit) -> dict[str, object]:
    record = hit.record
    return {"id": record.id, "score": float(hit.score), "text": record.text, "metadata": dict(record.metadata)}


def _print(hits: Sequence[Hit]) -> None:
    """Print a line each: rank, score, id and the beginning of the text."""
    rows = [
        (str(rank), f"{hit.score:.4f}", one_line(hit.record.id), one_line(hit.record.text[: 4 * _SNIPPET], _SNIPPET))
        for rank, hit in enumerate(hits, 1)
    ]
    if sys.stdout.isatty():
        table(("rank", "score", "id", "text"), rows)
    else:
        aligned(rows)
