"""jinavec index: read records, embed those that have no vector, store them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from typer import Option

from jinavec_adapters.cli import completion
from jinavec_adapters.cli.flags import TARGETS, EncoderFlags, EngineFlags, RecordFlags, SourceNames, check_target
from jinavec_adapters.cli.output import note, say
from jinavec_adapters.cli.usage import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jinavec.ingest import Ingested
    from jinavec_adapters.cli.sources import Fields, Item, Reading, Sources


@dataclass(frozen=True, kw_only=True)
class IndexFlags:
    """Where records go, and whether they bring their vectors."""

    to: Annotated[
        str,
        Option(
            metavar="TARGET",
            help=f"{TARGETS}; created if there is none.",
            callback=check_target,
            autocompletion=completion.targets,
        ),
    ]
    vector_field: Annotated[
        str | None,
        Option(
            metavar="FIELD",
            help="The field of a vector that --model made already: a list of floats, in Parquet also packed bits as"
            " uint8. [default: texts are embedded; an .npy or .faiss file, or a Parquet file without texts, holds"
            " vectors]",
        ),
    ] = None
    vectors: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="The vectors that --model made already: one for each record, in their order; an .npy file, as encode"
            " writes it, or a .faiss file. [default: none, texts are embedded]",
        ),
    ] = None
    resume: Annotated[
        bool,
        Option(
            "--resume/--no-resume",
            help="Skip records that are stored unchanged; --no-resume embeds and replaces them. Records that bring"
            " vectors are always stored.",
        ),
    ] = True
    sync: Annotated[
        bool,
        Option(
            "--sync",
            help="Of the folders and text files given, also remove the records of files that are gone. What could not"
            " be read stays, and so does every other record. [default: only replace the passages of changed files]",
        ),
    ] = False
    force: Annotated[
        bool,
        Option("--force", help="Let --sync remove all records of what is missing or empty. [default: refuse]"),
    ] = False
    dry_run: Annotated[
        bool, Option("--dry-run", help="Read and check everything, say what would be done, write nothing.")
    ] = False


def index(
    sources: SourceNames, flags: IndexFlags, read: RecordFlags, engine_flags: EngineFlags, asked: EncoderFlags
) -> None:
    """Embed records and store them by id.

    Texts are embedded as documents, unless the records bring their vectors. Every field but id and text becomes
    metadata, and so do the members of an object named metadata; a field of the record itself wins over a member of that
    name. A CSV column becomes numbers if each of its cells is written as that number is printed (1.5, but not 1.50), or
    true and false; else it stays strings.

    Text and Markdown files are split into passages. Their metadata are root (the folder), path (below it) and passage
    (the number); passages that a file no longer has are removed, and --sync removes those of files that are gone.

    After an interruption, run the same command again: what is stored is not embedded again.

    Examples:
        jinavec index notes.jsonl --to faiss:notes --model wordllama-256
        jinavec index pages/ --to faiss:pages --sync
        jinavec index notes.jsonl --to qdrant:http://host:6333/notes --option preset=binary
        jinavec index notes.jsonl --to elasticsearch:http://host:9200/notes --option storage=int8_hnsw
    """
    from jinavec_adapters.cli.contract_beside import check_contract
    from jinavec_adapters.cli.encoders import choose_settings, contract_of, find_existing
    from jinavec_adapters.cli.engines import engine_options
    from jinavec_adapters.cli.indexing import Indexing
    from jinavec_adapters.cli.progress import progress_bar
    from jinavec_adapters.cli.sources import Distinct, Fields, Rejects, Sources
    from jinavec_adapters.cli.stale import Stale

    engine_options(flags.to, engine_flags.option)  # so that a mistake in them is found before anything is opened
    existing = find_existing(flags.to)
    settings = choose_settings(asked, existing)
    if existing is not None or asked.model is not None or asked.profile is not None:
        for name in [*sources, *([] if flags.vectors is None else [flags.vectors])]:
            check_contract(name, contract_of(settings))
    rejects = Rejects(skip=read.skip_bad)
    fields = Fields(read.id_field, read.text_field, flags.vector_field)
    how = replace(read.reading(), allow_blank=flags.sync, allow_missing=flags.force)
    files = Sources(sources, fields, rejects, how)
    _check_sync(flags, files)
    given = files if flags.vectors is None else _with_vectors(sources, fields, flags.vectors, files, how)
    with Distinct(given, rejects) as distinct:
        with progress_bar(files) as show:
            run = Indexing(
                target=flags.to,
                options=engine_flags.option,
                resume=flags.resume,
                batch_size=read.batch_size,
                settings=settings,
                is_new=existing is None,
                is_default=asked.model is None and asked.profile is None,
                skip_bad=read.skip_bad,
                show=show,
            )
            items = iter(distinct)
            if flags.dry_run:
                done, layout = run.rehearse(items), None
            else:
                done, layout = run.store(items, lambda id, reason: rejects(distinct.place(id), reason))
        stale = Stale(files, distinct, sync=flags.sync)
        removed = run.remove(stale, done, rehearse=flags.dry_run) if files.scopes else 0
        if layout is not None:
            note(f"plan: {layout}")
        rejects.report(done.stored + done.unchanged + removed)
    described = [f"{settings.profile.name}, {settings.task}, {settings.dimension} dimensions"]
    described += _counts(done, removed, distinct.repeated, rejects.count)
    kind = ", a new index" if flags.dry_run and existing is None else ""
    verb = "would index" if flags.dry_run else "indexed"
    say(f"{verb} {done.stored} records into {flags.to}{kind} ({'; '.join(described)})")


def _check_sync(flags: IndexFlags, files: Sources) -> None:
    if flags.force and not flags.sync:
        raise UsageError("--force goes with --sync")
    if flags.sync and files.others:
        raise UsageError(
            f"--sync takes folders and text files; records of {files.others[0]} do not say where they are from: index"
            " it by itself, without --sync"
        )


def _with_vectors(names: list[str], fields: Fields, vectors: str, files: Sources, how: Reading) -> Iterable[Item]:
    """Return the items with their vectors, after reading all of both once: none is to be stored with a wrong one."""
    from jinavec_adapters.cli.sources import STDIN, Rejects, Sources, vectors_beside

    if STDIN in names:
        raise UsageError("--vectors needs records from files: they are read once before, to see that each has a vector")
    for _ in vectors_beside(Sources(names, fields, Rejects(skip=files.rejects.skip), how), vectors):
        pass
    return vectors_beside(files, vectors)


def _counts(done: Ingested, removed: int, repeated: int, skipped: int) -> list[str]:
    counts = {
        "replaced": done.replaced,
        "unchanged": done.unchanged,
        "removed": removed,
        "repeated texts stored once": repeated,
        "bad records skipped": skipped,
    }
    return [f"{count} {what}" for what, count in counts.items() if count]
