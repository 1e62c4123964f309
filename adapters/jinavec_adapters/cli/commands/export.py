"""jinavec export: the records of an index as a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Argument, Option

from jinavec_adapters.cli.flags import EngineFlags, FilterFlags, Target
from jinavec_adapters.cli.output import note, say

_PAGE = 1000

Out = Annotated[str, Argument(metavar="OUT", help="A file ending in .jsonl or .parquet.", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """What is exported, and over what."""

    vectors: Annotated[
        bool, Option("--vectors", help="Export the stored vectors, too, in the field vector. [default: no]")
    ] = False
    force: Annotated[bool, Option("--force", help="Replace OUT if it exists. [default: refuse]")] = False


def export(target: Target, out: Out, flags: ExportFlags, filters: FilterFlags, engine_flags: EngineFlags) -> None:
    """Write records to a JSON lines or Parquet file.

    The command index reads what it writes. JSON lines have the fields id, text, metadata and vector; Parquet has
    columns of these names, metadata as JSON text.

    Vectors are as exact as the index keeps them: float32; int8, decoded to floats; or bits alone, which Parquet holds
    packed as uint8 and JSON lines as floats of two values. Standard error says which; so does, with the contract, the
    key jinavec in the metadata of a Parquet file.

    A failure leaves an existing file as it is. To store what was exported: jinavec index OUT --to TARGET --model NAME
    --dimension D --vector-field vector.

    Examples:
        jinavec export faiss:notes copy.jsonl
        jinavec export faiss:notes copy.parquet --vectors --filter topic=cats
    """
    from jinavec import open_engine
    from jinavec.ingest import Progress
    from jinavec_adapters.cli.engines import engine_options
    from jinavec_adapters.cli.progress import progress_bar
    from jinavec_adapters.cli.record_writers import record_writer

    condition = filters.condition()
    done = 0
    with open_engine(target, options=engine_options(target, engine_flags.option)) as engine:
        precision = engine.vector_precision if flags.vectors else None
        with record_writer(out, engine.contract, precision, replace=flags.force) as writer, progress_bar() as show:
            for page in engine.iterate(_PAGE, vectors=flags.vectors, filter=condition):
                writer.write(page)
                done += len(page)
                show(Progress("exporting", done))
        contract = engine.contract
    if precision is not None:
        note(f"vectors: {precision} ({contract.model}, {contract.task}, {contract.dimension} dimensions)")
    say(f"exported {done} records from {target} to {out}")
