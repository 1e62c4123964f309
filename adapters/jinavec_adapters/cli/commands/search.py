"""jinavec search: answer a question from an index."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from jinavec_adapters.cli.flags import AsJson, EncoderFlags, EngineFlags, FilterFlags, Target
from jinavec_adapters.cli.output import aligned, beginning, note, one_line, record_json, say_json, table

if TYPE_CHECKING:
    from jinavec import Hit

Question = Annotated[str, Argument(metavar="QUESTION", help="What to look for.", show_default=False)]
K = Annotated[int, Option("-k", min=1, metavar="K", help="The number of hits.")]


def search(
    target: Target,
    question: Question,
    filters: FilterFlags,
    engine_flags: EngineFlags,
    asked: EncoderFlags,
    *,
    k: K = 10,
    as_json: AsJson = False,
) -> None:
    """Print the records that best answer a question.

    The index knows its model, task and dimension.

    Examples:
        jinavec search faiss:notes "where does the cat sleep?" -k 3
        jinavec search faiss:notes "boats" --filter topic=ships --json
    """
    from jinavec import open_engine
    from jinavec.log import timed
    from jinavec_adapters.cli.encoders import Existing, choose_settings, load
    from jinavec_adapters.cli.engines import engine_options

    condition = filters.condition()
    with open_engine(target, options=engine_options(target, engine_flags.option)) as engine:
        with load(choose_settings(asked, Existing(engine.contract, engine.settings))) as encoder:
            engine.contract.check(encoder.contract)
            query = encoder.encode_queries([question])[0]
        with timed("%s: searching for %d hits", engine.name, k):
            hits = engine.search(query, k, condition)
    if not hits:
        note("no hits")
    elif as_json:
        for hit in hits:
            say_json({"id": hit.record.id, "score": float(hit.score), **record_json(hit.record)})
    else:
        _print(hits)


def _print(hits: Sequence[Hit]) -> None:
    """Print a line each: rank, score, id and the beginning of the text."""
    rows = [
        (str(rank), f"{hit.score:.4f}", one_line(hit.record.id), beginning(hit.record.text))
        for rank, hit in enumerate(hits, 1)
    ]
    if sys.stdout.isatty():
        table(("rank", "score", "id", "text"), rows)
    else:
        aligned(rows)
