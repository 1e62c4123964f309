"""Batcher: the queue of one model and task; texts of many requests, in whatever protocol, share batches."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from jinavec import Encoder
from jinavec.errors import ModelError, ServerError, TextTooLong
from jinavec.settings import Overflow
from jinavec.tasks import Role
from jinavec.vectors import Float32
from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server.metrics import Metrics

TEXTS = 1024
"""The most texts of a batch."""
TOKENS = 8192
"""Tokens of a batch, for backends that cannot tell how many keep them busy."""
LONG = 1024
"""A text of more tokens is a long one: it takes seconds on a processor, and whoever shares its batch waits for it."""
LONGEST_RETRY = 60
"""Seconds."""


@dataclass(frozen=True)
class BatchKey:
    """What texts must have in common to be embedded by one call."""

    role: Role
    dimension: int
    overflow: Overflow


def guess_tokens(text: str) -> int:
    """Return about how many tokens a text has: one for four bytes."""
    return len(text.encode()) // 4 + 1


class QueuedRequest:
    """Texts of one request, with one BatchKey."""

    def __init__(self, key: BatchKey, texts: Sequence[str]) -> None:
        self.key = key
        self.texts = texts
        self.tokens = [guess_tokens(text) for text in texts]
        self.waiting = sum(self.tokens)
        """Tokens of the texts that no batch has taken."""
        self.next = 0
        self.left = len(texts)
        self.vectors = np.empty((len(texts), key.dimension), np.float32)
        self.counts: list[int | None] = [None] * len(texts)
        """Tokens the model read of each text, where its backend counts them."""
        self.done: asyncio.Future[Float32] = asyncio.get_running_loop().create_future()

    def fill(self, rows: Sequence[int], vectors: Float32, counts: Sequence[int]) -> None:
        """Take the vectors of some rows, and their tokens if there are any; the last ones finish the request."""
        self.vectors[rows] = vectors
        for row, count in zip(rows, counts, strict=False):
            self.counts[row] = count
        self.left -= len(rows)
        if not self.left and not self.done.done():
            self.done.set_result(self.vectors)


Items = list[tuple[QueuedRequest, int]]
"""Texts of a batch: the request and the row in it."""


class Batcher:
    """Embeds the requests of one model and task in batches.

    While nothing runs, a text waits for nobody. While a batch runs, the next one starts when it is full, or has waited
    as long as it may; it takes one text of each request in turn, so that a small request passes a large one.
    """

    def __init__(
        self,
        encoder: Encoder,
        metrics: Metrics,
        *,
        batch_tokens: int | None,
        queue_tokens: int,
        max_wait: float,
        concurrency: int,
        full: Reason = Reason.RATE_LIMITED,
        turns: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """Start with an empty queue.

        Args:
            encoder: what embeds.
            metrics: where texts, batches and the queue are counted.
            batch_tokens: tokens of a batch; by default what keeps the backend busy.
            queue_tokens: the most tokens that wait.
            max_wait: seconds that a text waits for others while a batch runs.
            concurrency: batches under way.
            full: why a request is refused while as many tokens wait as may.
            turns: held while a batch runs; several batchers may share it.
        """
        self.encoder = encoder
        self.budget = batch_tokens or encoder.backend.batch_tokens or TOKENS
        self._metrics = metrics.of(encoder)
        self._queue_tokens = queue_tokens
        self._max_wait = max_wait
        self._concurrency = concurrency
        self._full = full
        self._turns = turns or nullcontext()
        self._encoders: dict[tuple[int, Overflow], Encoder] = {}
        self._requests: deque[QueuedRequest] = deque()
        self._waiting = 0
        self._running: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rate = 0.0
        """Tokens a second, of late."""

    def submit(self, key: BatchKey, texts: Sequence[str]) -> QueuedRequest:
        """Queue texts; the request's ``done`` gives float32 (n, dimension), or raises what the encoder did.

        Raises:
            WireError: the queue is full; says after how many seconds it should not be.
        """
        request = QueuedRequest(key, texts)
        if self._waiting and self._waiting + request.waiting > self._queue_tokens:
            raise WireError(self._full, "too many texts are waiting; try again later", retry_after=self._retry_after())
        self._requests.append(request)
        self._count(request.waiting)
        self._wake()
        return request

    def cancel(self, request: QueuedRequest) -> None:
        """Drop the texts of a request that no batch has taken; nobody waits for it any more."""
        request.done.cancel()
        if request.waiting:
            self._requests.remove(request)
            self._count(-request.waiting)
            request.waiting = 0

    def _count(self, tokens: int) -> None:
        self._waiting += tokens
        self._metrics.waiting.inc(tokens)

    def _retry_after(self) -> float:
        return min(LONGEST_RETRY, max(1, math.ceil(self._waiting / self._rate))) if self._rate else 1

    def _wake(self) -> None:
        """See to it that the next batch starts when it should."""
        if not self._requests or len(self._running) >= self._concurrency or self._starting is not None:
            return
        loop = asyncio.get_running_loop()
        if not self._running or self._waiting >= self.budget:
            self._starting = loop.call_soon(self._start)  # after all that arrived in this turn of the loop
        elif self._timer is None:
            self._timer = loop.call_later(self._max_wait, self._start)

    def _start(self) -> None:
        for handle in (self._starting, self._timer):
            if handle is not None:
                handle.cancel()
        self._starting = self._timer = None
        if self._requests and len(self._running) < self._concurrency:
            task = asyncio.create_task(self._run(self._take()))
            self._running.add(task)
            task.add_done_callback(self._finished)
        self._wake()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake()

    def _take(self) -> Items:
        batch: Items = []
        tokens = 0
        while self._requests and len(batch) < TEXTS:
            request = self._requests[0]
            size = request.tokens[request.next]
            if batch and tokens + size > self.budget:
                break
            self._requests.popleft()
            batch.append((request, request.next))
            tokens += size
            request.next += 1
            request.waiting -= size
            if request.waiting:
                self._requests.append(request)
        self._count(-tokens)
        return batch

    async def _run(self, batch: Items) -> None:
        try:
            async with self._turns:
                await self._embed_all(batch)
        except BaseException as error:
            for request, _ in batch:
                self._fail(request, error)
            raise

    async def _embed_all(self, batch: Items) -> None:
        groups: dict[BatchKey, Items] = {}
        for request, row in batch:
            groups.setdefault(request.key, []).append((request, row))
        started = time.perf_counter()
        await asyncio.gather(*(self._embed(key, items) for key, items in groups.items()))
        self._metrics.texts.inc(len(batch))
        self._metrics.batch.observe(len(batch))
        rate = sum(request.tokens[row] for request, row in batch) / max(1e-6, time.perf_counter() - started)
        self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate

    async def _embed(self, key: BatchKey, items: Items) -> None:
        """Embed texts of one BatchKey; if that fails, each half of their requests alone, down to the one that fails."""
        rows: dict[QueuedRequest, list[int]] = {}
        for request, row in items:
            if not request.done.done():
                rows.setdefault(request, []).append(row)
        if not rows:
            return
        texts = [request.texts[row] for request, own in rows.items() for row in own]
        counts: list[int] = []
        try:
            vectors = await self._encoder(key).aencode(texts, role=key.role, counted=counts.extend)
        except BaseException as error:  # whatever it is, each request is told, and none waits for ever
            requests = list(rows)
            if len(requests) == 1 or _is_outage(error) or _is_cancelled():
                if isinstance(error, (TextTooLong, ServerError)) and len(requests) == 1:
                    error.positions = tuple(rows[requests[0]][position] for position in error.positions)
                for request in requests:
                    self._fail(request, error)
                if _is_cancelled():
                    raise
                return
            for half in (requests[: len(requests) // 2], requests[len(requests) // 2 :]):
                await self._embed(key, [(request, row) for request in half for row in rows[request]])
            return
        start = 0
        for request, own in rows.items():
            part = slice(start, start + len(own))
            request.fill(own, vectors[part], counts[part])
            start += len(own)

    def _fail(self, request: QueuedRequest, error: BaseException) -> None:
        """End a request; what is no Exception would end who waits for it too, a SystemExit even the loop."""
        if not request.done.done():
            failure = error if isinstance(error, Exception) else ModelError(f"the model failed: {type(error).__name__}")
            failure.__cause__ = error.__cause__ if failure is error else error
            request.done.set_exception(failure)
        self.cancel(request)

    def _encoder(self, key: BatchKey) -> Encoder:
        """Return the encoder of a dimension; all of them share one backend."""
        view = (key.dimension, key.overflow)
        if view not in self._encoders:
            base = self.encoder
            self._encoders[view] = Encoder(
                base.profile, base.backend, task=base.task, dimension=key.dimension, overflow=key.overflow
            )
        return self._encoders[view]


def _is_cancelled() -> bool:
    """Return whether the task that asks is being cancelled, as against a model that raises CancelledError."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_outage(error: BaseException) -> bool:
    """Return whether no text can be the reason."""
    if not isinstance(error, ServerError) or error.positions:
        return False
    return error.status in (0, 401, 403, 429) or error.status >= 500
