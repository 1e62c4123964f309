"""Indexing: one run of ``jinavec index``, from the first record that is read to the last that is stored."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, tee

import numpy as np

from jinavec import Encoder, EncoderSettings, Engine, Record, Role, open_engine
from jinavec.ingest import Ingested, OnRefused, Progress, ReportProgress
from jinavec.records import same_content
from jinavec_adapters.cli.batches import in_batches
from jinavec_adapters.cli.encoders import DEFAULT_MODEL, contract_of, load
from jinavec_adapters.cli.engines import engine_options, require_capability
from jinavec_adapters.cli.output import note
from jinavec_adapters.cli.sources import Item, alike
from jinavec_adapters.cli.stale import Stale
from jinavec_adapters.cli.usage import UsageError


@dataclass(frozen=True, kw_only=True)
class Indexing:
    """Where records go, and how."""

    target: str
    options: Sequence[str]
    """Of the engine, ``NAME=VALUE``."""
    resume: bool
    batch_size: int | None
    settings: EncoderSettings
    is_new: bool
    """Whether there is no index yet."""
    is_default: bool
    """Whether no flag names the model."""
    skip_bad: bool
    """Whether records that cannot be used are set aside."""
    show: ReportProgress

    def store(self, items: Iterator[Item], on_refused: OnRefused) -> tuple[Ingested, object]:
        """Store the items; return what was done, and the layout that the engine chose, or None.

        Model and index are opened when the first batch has been read, so that an early failure leaves no index behind.

        Args:
            items: with a text each, or each with a vector of one kind.
            on_refused: called with id and reason of each record whose text is not embedded, or that the engine refuses.
        """
        with ExitStack() as opened:
            with _nothing_stored():
                batch, items = self._first_batch(items)
                if not batch:
                    return Ingested(0, 0, 0), None
                engine = self._open(batch, opened, on_refused)
            again = None
            if batch[0].vector is not None:
                items, again = tee(items)  # ingest reads both in step, so that no more than a batch waits here
            ingested = engine.ingest(
                (item.record for item in items),
                None if again is None else (item.vector for item in again if item.vector is not None),
                resume=self.resume,
                batch_size=self.batch_size,
                on_refused=on_refused,
                progress=self.show,
            )
            return ingested, engine.optimize(self.show)

    def remove(self, stale: Stale, done: Ingested, *, rehearse: bool) -> int:
        """Delete the records that files of text no longer hold, or only count them; return how many there are."""
        if self.is_new:
            return 0
        with open_engine(self.target, options=engine_options(self.target, self.options)) as engine:
            return stale.count(engine) if rehearse else stale.delete(engine, added=done.added > 0)

    def rehearse(self, items: Iterator[Item]) -> Ingested:
        """Return what ``store`` would do, and write nothing."""
        added = replaced = unchanged = 0
        with ExitStack() as opened:
            _, items = self._first_batch(items)
            engine = None if self.is_new else opened.enter_context(open_engine(self.target))
            for batch in in_batches(items, self.batch_size):
                ids = [item.record.id for item in batch]
                known = {} if engine is None else {record.id: record for record in engine.get(ids)}
                same = sum(self._is_unchanged(item, known.get(item.record.id)) for item in batch)
                unchanged += same
                replaced += len(known) - same
                added += len(ids) - len(known)
                self.show(Progress("reading", added + replaced + unchanged))
        return Ingested(added, replaced, unchanged)

    def _is_unchanged(self, item: Item, stored: Record | None) -> bool:
        skips = self.resume and item.vector is None
        return skips and stored is not None and same_content(item.record, stored)

    def _first_batch(self, items: Iterator[Item]) -> tuple[list[Item], Iterator[Item]]:
        """Read a batch; return it, empty if no record can be used, and all items again, checked to be alike."""
        first = next(items, None)
        if first is None:
            return [], items
        if self.is_new and self.is_default and first.vector is not None:
            raise UsageError("vectors need --model NAME or --profile FILE.toml: which model made them")
        items = alike(chain([first], items), self.settings.dimension)
        batch = next(in_batches(items, self.batch_size))
        if self.is_new and self.is_default:
            note(
                f"no --model given: the new index gets {DEFAULT_MODEL!r}, which is built in and matches wording, not"
                " meaning; --model jina-embeddings-v5-text-nano matches meaning"
            )
        return batch, chain(batch, items)

    def _open(self, batch: list[Item], opened: ExitStack, on_refused: OnRefused) -> Engine:
        """Open the index, for vectors or with the encoder that makes them; ``opened`` closes both."""
        first = batch[0].vector
        if first is not None:
            options = engine_options(self.target, self._options(packed=first.dtype == np.uint8))
            contract = contract_of(self.settings)
            if first.dtype == np.int8:
                contract = replace(contract, precision="int8")
            engine = open_engine(self.target, contract=contract, options=options)
            return opened.enter_context(engine)
        encoder = opened.enter_context(load(self.settings))
        if self.is_new:
            _embed_ends(encoder, batch, None if self.skip_bad else on_refused)
        options = engine_options(self.target, self.options)
        return opened.enter_context(open_engine(self.target, encoder=encoder, options=options))

    def _options(self, *, packed: bool) -> Sequence[str]:
        """Return the engine's options; of packed bits, nothing but the bits can be kept."""
        if not packed:
            return self.options
        require_capability(self.target, "packed_bits")
        decided = any(option.startswith("vectors=") and option != "vectors=auto" for option in self.options)
        return self.options if decided else [*self.options, "vectors=none"]


def _embed_ends(encoder: Encoder, batch: list[Item], on_refused: OnRefused | None) -> None:
    """Embed the longest text and the shortest, so that a model that fails, or refuses texts, fails before the index is.

    A server that takes one of them does not refuse all texts for a reason of its own.
    """
    items = sorted((item for item in batch if item.record.text), key=lambda item: len(item.record.text))
    items = items[-1:] + items[:-1][:1]
    if items:
        refused: dict[int, str] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are embedded again with their batch, which repeats them
            encoder.encode([item.record.text for item in items], role=Role.DOCUMENT, refused=refused.update)
        for number, reason in refused.items():
            if on_refused is not None:
                on_refused(items[number].record.id, reason)


@contextmanager
def _nothing_stored() -> Generator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note("nothing was stored")
        raise
