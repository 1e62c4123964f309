"""jinavec encode: write the vectors of records to a file or standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.batches import batches
from jinavec_adapters.cli.encoders import load, settle
from jinavec_adapters.cli.flags import EncoderFlags
from jinavec_adapters.cli.misuse import Misuse
from jinavec_adapters.cli.output import note, report_skipped
from jinavec_adapters.cli.progress import progress
from jinavec_adapters.cli.sources import BadRecords, Fields, Sources
from jinavec_adapters.cli.vectorfiles import Format, vector_writer


def run_encode(
    names: Sequence[str],
    role: Literal["query", "document"],
    asked: EncoderFlags,
    fields: Fields,
    format: Format,
    out: str | None,
    skip_bad: bool,
    batch_size: int,
) -> None:
    """Encode sources, batch by batch; see ``jinavec encode --help``."""
    if asked.model is None and asked.profile is None:
        raise Misuse("encode needs --model NAME or --profile FILE.toml; 'jinavec models' lists the names")
    settings = settle(asked)
    bad = BadRecords(skip=skip_bad)
    sources = Sources(names, fields, bad)
    done = 0
    with (
        vector_writer(out, format, settings.dimension) as writer,
        load(settings) as encoder,
        progress(sources, "encoding") as show,
    ):
        for batch in batches(sources, batch_size):
            if any(item.vector is not None for item in batch):
                raise InvalidInput("there are vectors in place of texts; nothing is left to encode")
            before = done
            texts = [item.record.text for item in batch]
            vectors = encoder.encode(texts, role=role, progress=lambda part, _, before=before: show(before + part))
            writer.write([item.record.id for item in batch], vectors)
            done += len(batch)
        report_skipped(bad, done)
    note(f"encoded {done} records ({settings.profile.name}, {settings.task}, {settings.dimension} dimensions, {role})")
