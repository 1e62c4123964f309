"""jinavec encode: write the vectors of records to a file or standard output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from typer import Option

from jinavec_adapters.cli.flags import NewEncoderFlags, RecordFlags, SourceNames
from jinavec_adapters.cli.output import note
from jinavec_adapters.cli.usage import UsageError


@dataclass(frozen=True, kw_only=True)
class EncodeFlags:
    """What is written."""

    role: Annotated[Literal["query", "document"], Option(help="Whether the texts are queries or documents.")]
    format: Annotated[Literal["float32", "int8", "bits"], Option(help="How the vectors are written.")] = "float32"
    out: Annotated[
        str | None,
        Option(metavar="FILE", help="A file ending in .npy or .jsonl. [default: JSON lines on standard output]"),
    ] = None


def encode(sources: SourceNames, flags: EncodeFlags, read: RecordFlags, asked: NewEncoderFlags) -> None:
    """Write the vectors of records to a file.

    They are in the order of the records; --model or --profile is needed. An .npy file holds an array (records,
    dimension) of float32 or int8, or of bits packed eight to a byte, the first dimension in the highest bit; JSON lines
    hold id and vector. Their contract is written beside them, as FILE.contract.json, and index compares it.

    Examples:
        jinavec encode notes.jsonl --role document --model wordllama-256 --out notes.npy
    """
    from jinavec.errors import InvalidInput
    from jinavec.ingest import Progress
    from jinavec_adapters.cli.batches import in_batches
    from jinavec_adapters.cli.contract_beside import write_contract
    from jinavec_adapters.cli.encoders import choose_settings, load
    from jinavec_adapters.cli.progress import progress_bar
    from jinavec_adapters.cli.sources import Fields, Rejects, Sources
    from jinavec_adapters.cli.vector_writers import vector_writer

    if asked.model is None and asked.profile is None:
        raise UsageError("encode needs --model NAME or --profile FILE.toml; 'jinavec models' lists the names")
    settings = choose_settings(asked)
    rejects = Rejects(skip=read.skip_bad)
    records = Sources(sources, Fields(read.id_field, read.text_field), rejects, read.reading())
    done = 0
    with (
        vector_writer(flags.out, flags.format, settings.dimension) as writer,
        load(settings) as encoder,
        progress_bar(records) as show,
    ):
        for batch in in_batches(records, read.batch_size):
            if any(item.vector is not None for item in batch):
                raise InvalidInput("the records have vectors already, so there is nothing to encode")
            texts = [item.record.text for item in batch]

            def advance(part: int, _: int, before: int = done) -> None:
                show(Progress("encoding", before + part))

            refused: dict[int, str] = {}
            vectors = encoder.encode(texts, role=flags.role, progress=advance, refused=refused.update)
            for number, reason in sorted(refused.items()):
                rejects(batch[number].place, reason)
            kept = [number for number in range(len(batch)) if number not in refused]
            writer.write([batch[number].record.id for number in kept], vectors[kept])
            done += len(kept)
        rejects.report(done)
        contract = encoder.contract
    if flags.out is not None:
        write_contract(flags.out, contract, flags.role)
    described = f"{settings.profile.name}, {settings.task}, {settings.dimension} dimensions, {flags.role}"
    note(f"encoded {done} records ({described})")
