"""jinavec index: read records, encode them, store them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Protocol

from jinavec import Contract, Encoder, EncoderSettings, Engine, Record, open_engine
from jinavec.sender import Sender
from jinavec.vectors import Float32
from jinavec_adapters.cli.batches import Unique, batches
from jinavec_adapters.cli.encoders import DEFAULT_MODEL, Existing, load, look_up, settle
from jinavec_adapters.cli.engineoptions import engine_options
from jinavec_adapters.cli.flags import EncoderFlags
from jinavec_adapters.cli.output import note, report_skipped, say
from jinavec_adapters.cli.progress import phases, progress
from jinavec_adapters.cli.sources import BadRecords, Fields, Sources


class _Store(Protocol):
    """Where the records of a run go."""

    stored: int
    replaced: int
    kept: int
    """Records that were there already, as they are."""

    def store(self, records: list[Record], show: Callable[[int], None], sender: Sender) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


def run_index(
    names: Sequence[str],
    target: str,
    asked: EncoderFlags,
    fields: Fields,
    options: Sequence[str],
    skip_bad: bool,
    dry_run: bool,
    batch_size: int,
    resume: bool = False,
) -> None:
    """Index sources into a target, batch by batch; see ``jinavec index --help``."""
    chosen = engine_options(target, options)
    existing = look_up(target)
    settings = settle(asked, existing)
    bad = BadRecords(skip=skip_bad)
    sources = Sources(names, fields, bad)
    if existing is None and asked.model is None and asked.profile is None:
        _explain_default()
    store = _Rehearsal(target, existing) if dry_run else _Writer(target, settings, chosen, resume)
    items = Unique(sources, bad)
    with closing(store):
        with progress(sources, "indexing") as show:
            _fill(store, items, batch_size, show, stores=not dry_run)
        store.finish()
    report_skipped(bad, store.stored + store.kept)
    verb = f"would index {store.stored} records into" if dry_run else f"indexed {store.stored} records into"
    kind = ", a new index" if dry_run and existing is None else ""
    say(f"{verb} {target}{kind} ({_details(settings, store.replaced, items.repeated, bad.count, store.kept)})")


def _fill(store: _Store, items: Unique, batch_size: int, show: Callable[[int], None], *, stores: bool) -> None:
    try:
        with Sender() as sender:
            for batch in batches(items, batch_size):
                store.store([item.record for item in batch], show, sender)
    except BaseException as error:
        if stores:
            again = f"the first {store.stored} records are stored; running it again replaces those of the same id"
            error.add_note(again if store.stored else "nothing was stored")
        raise


class _Writer:
    """Encodes and stores; model and index are opened with the first batch, so that an early failure leaves nothing."""

    def __init__(self, target: str, settings: EncoderSettings, options: object, resume: bool) -> None:
        self._target = target
        self._settings = settings
        self._options = options
        self._resume = resume
        self._encoder: Encoder | None = None
        self._engine: Engine | None = None
        self._opened = ExitStack()
        self._passed = 0  # records encoded or kept; those stored follow
        self.stored = 0
        self.replaced = 0
        self.kept = 0

    def store(self, records: list[Record], show: Callable[[int], None], sender: Sender) -> None:
        """Encode a batch, and store it while the next one is encoded."""
        encoder = self._load_encoder()
        if self._resume:
            new = self._open_engine(encoder).missing(records)
            self.kept += len(records) - len(new)
            self._passed += len(records) - len(new)
            records = new
        before = self._passed

        def advance(done: int, _: int) -> None:
            sender.check()
            show(before + done)

        vectors = encoder.encode_documents([record.text for record in records], progress=advance)
        self._passed += len(records)
        engine = self._open_engine(encoder)
        sender.submit(lambda: _add(engine, records, vectors), self._count)

    def _count(self, added: tuple[int, int]) -> None:
        stored, replaced = added
        self.stored += stored
        self.replaced += replaced

    def finish(self) -> None:
        """Let the engine arrange what was stored."""
        if self._engine is not None:
            with phases() as report:
                self._engine.finish(report)

    def close(self) -> None:
        """Close model and index."""
        self._opened.close()

    def _load_encoder(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._opened.enter_context(load(self._settings))
        return self._encoder

    def _open_engine(self, encoder: Encoder) -> Engine:
        if self._engine is None:
            engine = open_engine(self._target, encoder=encoder, options=self._options)
            self._engine = self._opened.enter_context(engine)
        return self._engine


def _add(engine: Engine, records: list[Record], vectors: Float32) -> tuple[int, int]:
    """Store a batch; return how many records were stored, and how many of them replaced another."""
    before = engine.count()
    stored = engine.add(records, vectors)
    return stored, len(records) - (engine.count() - before)


class _Rehearsal:
    """Counts what would be stored and replaced, and writes nothing."""

    def __init__(self, target: str, existing: Existing | None) -> None:
        self._engine = None if existing is None else open_engine(target)
        self.stored = 0
        self.replaced = 0
        self.kept = 0

    def store(self, records: list[Record], show: Callable[[int], None], sender: Sender) -> None:
        """Count a batch."""
        self.stored += len(records)
        if self._engine is not None:
            self.replaced += len(self._engine.get([record.id for record in records]))
        show(self.stored)

    def finish(self) -> None:
        """Arrange nothing."""

    def close(self) -> None:
        """Close the index."""
        if self._engine is not None:
            self._engine.close()


def _explain_default() -> None:
    note(
        f"no --model given: the new index gets {DEFAULT_MODEL!r}, which is built in and matches wording, not meaning;"
        " --model jina-embeddings-v5-text-nano matches meaning"
    )


def _details(settings: EncoderSettings, replaced: int, repeated: int, skipped: int, kept: int) -> str:
    contract = Contract.of(settings.profile, settings.task, settings.dimension)
    parts = [f"{contract.model}, {contract.task}, {contract.dimension} dimensions"]
    if replaced:
        parts.append(f"{replaced} replaced")
    if kept:
        parts.append(f"{kept} were there already")
    if repeated:
        parts.append(f"{repeated} repeated texts stored once")
    if skipped:
        parts.append(f"{skipped} bad records skipped")
    return "; ".join(parts)
