"""jinavec index: read records, encode those that have no vector, store them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from jinavec import Contract, Encoder, EncoderSettings, Engine, Record, open_engine
from jinavec.engine import find_engine
from jinavec.errors import InvalidInput, InvalidVectors, RecordsFailed
from jinavec.sender import Sender
from jinavec_adapters.cli.batches import Unique, batches
from jinavec_adapters.cli.encoders import DEFAULT_MODEL, Existing, load, look_up, settle
from jinavec_adapters.cli.engineoptions import engine_options
from jinavec_adapters.cli.flags import EncoderFlags
from jinavec_adapters.cli.misuse import Misuse
from jinavec_adapters.cli.output import note, report_skipped, say
from jinavec_adapters.cli.progress import phases, progress
from jinavec_adapters.cli.sources import STDIN, BadRecords, Fields, Item, Sources, paired


class _Store(Protocol):
    """Where the records of a run go."""

    stored: int
    replaced: int
    kept: int
    """Records that were there already, as they are."""

    def store(self, items: list[Item], show: Callable[[int], None], sender: Sender) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


def run_index(
    names: Sequence[str],
    target: str,
    asked: EncoderFlags,
    fields: Fields,
    vectors: str | None,
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
    default = existing is None and asked.model is None and asked.profile is None
    store = _Rehearsal(target, settings, existing) if dry_run else _Writer(target, settings, chosen, resume, bad)
    items = Unique(sources if vectors is None else _beside(names, fields, vectors, sources, skip_bad), bad)
    with closing(store):
        with progress(sources, "indexing") as show:
            _fill(store, items, batch_size, show, stores=not dry_run, default=default)
        store.finish()
    report_skipped(bad, store.stored + store.kept)
    verb = f"would index {store.stored} records into" if dry_run else f"indexed {store.stored} records into"
    kind = ", a new index" if dry_run and existing is None else ""
    say(f"{verb} {target}{kind} ({_details(settings, store.replaced, items.repeated, bad.count, store.kept)})")


def _beside(names: Sequence[str], fields: Fields, vectors: str, sources: Sources, skip: bool) -> Iterable[Item]:
    """Return the items with their vectors, after reading all of both once: none is to be stored beside a wrong one."""
    if STDIN in names:
        raise Misuse("--vectors needs records from files: they are read once before, to see that each has a vector")
    for _ in paired(Sources(names, fields, BadRecords(skip=skip)), vectors):
        pass
    return paired(sources, vectors)


def _fill(
    store: _Store, items: Unique, batch_size: int, show: Callable[[int], None], *, stores: bool, default: bool
) -> None:
    try:
        with Sender() as sender:
            for number, batch in enumerate(batches(items, batch_size)):
                if default and not number:
                    _explain_default(batch[0])
                store.store(batch, show, sender)
    except BaseException as error:
        if stores:
            again = f"the first {store.stored} records are stored; running it again replaces those of the same id"
            error.add_note(again if store.stored else "nothing was stored")
        raise


class _Writer:
    """Encodes and stores; model and index are opened with the first batch, so that an early failure leaves nothing."""

    def __init__(self, target: str, settings: EncoderSettings, options: object, resume: bool, bad: BadRecords) -> None:
        self._target = target
        self._settings = settings
        self._options = options
        self._resume = resume
        self._bad = bad
        self._encoder: Encoder | None = None
        self._engine: Engine | None = None
        self._opened = ExitStack()
        self._passed = 0  # records encoded or kept; those stored follow
        self.stored = 0
        self.replaced = 0
        self.kept = 0

    def store(self, items: list[Item], show: Callable[[int], None], sender: Sender) -> None:
        """Encode a batch, unless it came with its vectors, and store it while the next one is encoded."""
        vectors = _stacked(items, self._settings.dimension)
        engine = None if vectors is None else self._open_for_vectors(vectors)
        if self._resume:
            engine = engine or self._open_engine(self._load_encoder())
            new = {record.id for record in engine.missing([item.record for item in items])}
            kept = [position for position, item in enumerate(items) if item.record.id in new]
            self.kept += len(items) - len(kept)
            self._passed += len(items) - len(kept)
            items = [items[position] for position in kept]
            vectors = None if vectors is None else vectors[kept]
        records = [item.record for item in items]
        if vectors is None:
            encoder = self._load_encoder()
            vectors = encoder.encode_documents(
                [record.text for record in records], progress=self._progress(show, sender)
            )
            engine = self._open_engine(encoder)
        assert engine is not None, "opened for the vectors or for the encoder"
        self._passed += len(records)
        show(self._passed)
        sender.submit(partial(_add, engine, records, vectors, skip=self._bad.skip), partial(self._count, items))

    def _progress(self, show: Callable[[int], None], sender: Sender) -> Callable[[int, int], None]:
        before = self._passed

        def advance(done: int, _: int) -> None:
            sender.check()
            show(before + done)

        return advance

    def _count(self, items: list[Item], added: _Added) -> None:
        self.stored += added.stored
        self.replaced += added.replaced
        for item in items:
            if item.record.id in added.refused:
                self._bad(item.place, added.refused[item.record.id])

    def finish(self) -> None:
        """Let the engine arrange what was stored, and say how it did."""
        if self._engine is None:
            return
        with phases() as report:
            plan = self._engine.finish(report)
        if plan is not None:
            note(f"plan: {plan}")

    def close(self) -> None:
        """Close model and index."""
        self._opened.close()

    def _load_encoder(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._opened.enter_context(load(self._settings))
        return self._encoder

    def _open_engine(self, encoder: Encoder | None, options: object = None) -> Engine:
        if self._engine is None:
            contract = _contract(self._settings) if encoder is None else None
            engine = open_engine(self._target, contract=contract, encoder=encoder, options=options or self._options)
            self._engine = self._opened.enter_context(engine)
        return self._engine

    def _open_for_vectors(self, vectors: NDArray[Any]) -> Engine:
        if vectors.dtype != np.uint8:
            return self._open_engine(None)
        kind: Any = find_engine(self._target)[0]
        if not hasattr(kind, "add_packed"):
            raise Misuse(f"packed bits are nothing that the engine of {self._target} takes: give floats")
        options: Any = self._options or kind.options_type()
        return self._open_engine(None, replace(options, vectors="none") if options.vectors == "auto" else options)


@dataclass(frozen=True)
class _Added:
    """What became of a batch."""

    stored: int
    replaced: int
    """Of those stored, the ones that took the place of another."""
    refused: Mapping[str, str]
    """Why, by id, for those that the engine would not have."""


def _add(engine: Engine, records: list[Record], vectors: NDArray[Any], *, skip: bool) -> _Added:
    """Store a batch.

    Args:
        engine: where to.
        records: the batch.
        vectors: floats, or packed bits.
        skip: whether to go on without records that the engine refuses.

    Raises:
        RecordsFailed: it refused some, and they are not to be skipped.
    """
    before = engine.count()
    add = cast("Any", engine).add_packed if vectors.dtype == np.uint8 else engine.add
    refused: Mapping[str, str] = {}
    try:
        add(records, vectors)
    except RecordsFailed as error:
        if not skip:
            raise
        refused = error.reasons
    stored = len(records) - len(refused)
    return _Added(stored, stored - (engine.count() - before), refused)


class _Rehearsal:
    """Counts what would be stored and replaced, and writes nothing."""

    def __init__(self, target: str, settings: EncoderSettings, existing: Existing | None) -> None:
        self._engine = None if existing is None else open_engine(target)
        self._settings = settings
        self.stored = 0
        self.replaced = 0
        self.kept = 0

    def store(self, items: list[Item], show: Callable[[int], None], sender: Sender) -> None:
        """Count a batch."""
        _stacked(items, self._settings.dimension)
        self.stored += len(items)
        if self._engine is not None:
            self.replaced += len(self._engine.get([item.record.id for item in items]))
        show(self.stored)

    def finish(self) -> None:
        """Arrange nothing."""

    def close(self) -> None:
        """Close the index."""
        if self._engine is not None:
            self._engine.close()


def _stacked(items: list[Item], dimension: int) -> NDArray[Any] | None:
    """Return the vectors of a batch: floats (n, dimension) or packed bits (n, dimension / 8); None: it has texts.

    Raises:
        InvalidVectors: of another width.
        InvalidInput: some have a vector, some do not.
    """
    vectors = [item.vector for item in items if item.vector is not None]
    if not vectors:
        return None
    if len(vectors) < len(items):
        raise InvalidInput("some records have a vector and some a text only: index them one after the other")
    for item, vector in zip(items, vectors, strict=True):
        width = -(-dimension // 8) if vector.dtype == np.uint8 else dimension
        if vector.dtype != vectors[0].dtype or len(vector) != width:
            kind = "packed bits" if vector.dtype == np.uint8 else "a vector"
            raise InvalidVectors(
                f"{item.place}: {kind} of {len(vector)} {vector.dtype}; {width} are expected for {dimension} dimensions"
                " (--dimension)"
            )
    return np.stack(vectors)


def _contract(settings: EncoderSettings) -> Contract:
    return Contract.of(settings.profile, settings.task, settings.dimension)


def _explain_default(first: Item) -> None:
    if first.vector is not None:
        raise Misuse("vectors need --model NAME or --profile FILE.toml: which model made them")
    note(
        f"no --model given: the new index gets {DEFAULT_MODEL!r}, which is built in and matches wording, not meaning;"
        " --model jina-embeddings-v5-text-nano matches meaning"
    )


def _details(settings: EncoderSettings, replaced: int, repeated: int, skipped: int, kept: int) -> str:
    contract = _contract(settings)
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
