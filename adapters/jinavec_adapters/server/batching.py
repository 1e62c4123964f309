"""Lane: the queue of one model and task, merged into batches whoever asks and in whatever protocol."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jinavec import Encoder
from jinavec.backends.base import Overflow
from jinavec.backends.local.base import LocalBackend
from jinavec.errors import ServerError
from jinavec.tasks import Role
from jinavec.vectors import Float32
from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server.metrics import Metrics

TEXTS = 1024
"""The most texts of a batch."""
TOKENS = 8192
"""Tokens of a batch, for backends that do not run on this processor's own terms."""
LONGEST_RETRY = 60
"""Seconds."""


@dataclass(frozen=True)
class Ask:
    """What texts must have in common to be embedded by one call."""

    role: Role
    dimension: int
    overflow: Overflow


class Job:
    """Texts of one request, with one Ask."""

    def __init__(self, ask: Ask, texts: Sequence[str]) -> None:
        self.ask = ask
        self.texts = texts
        self.tokens = [len(text.encode()) // 4 + 1 for text in texts]
        self.waiting = sum(self.tokens)
        """Tokens of the texts that no batch has taken."""
        self.next = 0
        self.left = len(texts)
        self.vectors = np.empty((len(texts), ask.dimension), np.float32)
        self.counts: list[int | None] = [None] * len(texts)
        """Tokens the model read of each text, where its backend counts them."""
        self.done: asyncio.Future[Float32] = asyncio.get_running_loop().create_future()

    def fill(self, rows: Sequence[int], vectors: Float32, counts: Sequence[int]) -> None:
        """Take the vectors of some rows, and their tokens if there are any; the last ones finish the job."""
        self.vectors[rows] = vectors
        for row, count in zip(rows, counts, strict=False):
            self.counts[row] = count
        self.left -= len(rows)
        if not self.left and not self.done.done():
            self.done.set_result(self.vectors)


Items = list[tuple[Job, int]]
"""Texts of a batch: the job and the row in it."""


class Lane:
    """Embeds the jobs of one model and task.

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
    ) -> None:
        self.encoder = encoder
        self.budget = batch_tokens or _budget(encoder)
        self._metrics = metrics.of(encoder)
        self._queue_tokens = queue_tokens
        self._max_wait = max_wait
        self._concurrency = concurrency
        self._encoders: dict[tuple[int, Overflow], Encoder] = {}
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._running: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rate = 0.0
        """Tokens a second, of late."""

    def submit(self, ask: Ask, texts: Sequence[str]) -> Job:
        """Queue texts; the job's ``done`` gives float32 (n, dimension), or raises what the encoder did.

        Raises:
            WireError: the queue is full; says after how many seconds it should not be.
        """
        job = Job(ask, texts)
        if self._waiting and self._waiting + job.waiting > self._queue_tokens:
            raise WireError(
                Reason.RATE_LIMITED, "too many texts are waiting; try again later", retry_after=self._retry_after()
            )
        self._jobs.append(job)
        self._count(job.waiting)
        self._wake()
        return job

    def cancel(self, job: Job) -> None:
        """Drop the texts of a job that no batch has taken; nobody waits for it any more."""
        job.done.cancel()
        if job.waiting:
            self._jobs.remove(job)
            self._count(-job.waiting)
            job.waiting = 0

    def _count(self, tokens: int) -> None:
        self._waiting += tokens
        self._metrics.waiting.set(self._waiting)

    def _retry_after(self) -> float:
        return min(LONGEST_RETRY, max(1, math.ceil(self._waiting / self._rate))) if self._rate else 1

    def _wake(self) -> None:
        """See to it that the next batch starts when it should."""
        if not self._jobs or len(self._running) >= self._concurrency or self._starting is not None:
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
        if self._jobs and len(self._running) < self._concurrency:
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
        while self._jobs and len(batch) < TEXTS:
            job = self._jobs[0]
            size = job.tokens[job.next]
            if batch and tokens + size > self.budget:
                break
            self._jobs.popleft()
            batch.append((job, job.next))
            tokens += size
            job.next += 1
            job.waiting -= size
            if job.waiting:
                self._jobs.append(job)
        self._count(-tokens)
        return batch

    async def _run(self, batch: Items) -> None:
        groups: dict[Ask, Items] = {}
        for job, row in batch:
            groups.setdefault(job.ask, []).append((job, row))
        started = time.perf_counter()
        await asyncio.gather(*(self._embed(ask, items) for ask, items in groups.items()))
        self._metrics.texts.inc(len(batch))
        self._metrics.batch.observe(len(batch))
        rate = sum(job.tokens[row] for job, row in batch) / max(1e-6, time.perf_counter() - started)
        self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate

    async def _embed(self, ask: Ask, items: Items) -> None:
        """Embed texts of one Ask; if that fails, each half of their requests alone, down to the one that fails."""
        rows: dict[Job, list[int]] = {}
        for job, row in items:
            if not job.done.done():
                rows.setdefault(job, []).append(row)
        if not rows:
            return
        texts = [job.texts[row] for job, own in rows.items() for row in own]
        counts: list[int] = []
        try:
            vectors = await self._encoder(ask).aencode(texts, role=ask.role, counted=counts.extend)
        except Exception as error:
            jobs = list(rows)
            if len(jobs) == 1 or _is_outage(error):
                for job in jobs:
                    self._fail(job, error)
                return
            for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
                await self._embed(ask, [(job, row) for job in half for row in rows[job]])
            return
        start = 0
        for job, own in rows.items():
            part = slice(start, start + len(own))
            job.fill(own, vectors[part], counts[part])
            start += len(own)

    def _fail(self, job: Job, error: Exception) -> None:
        if not job.done.done():
            job.done.set_exception(error)
        self.cancel(job)

    def _encoder(self, ask: Ask) -> Encoder:
        """Return the encoder of a dimension; all of them share one backend."""
        key = (ask.dimension, ask.overflow)
        if key not in self._encoders:
            base = self.encoder
            self._encoders[key] = Encoder(
                base.profile, base.backend, task=base.task, dimension=ask.dimension, overflow=ask.overflow
            )
        return self._encoders[key]


def _budget(encoder: Encoder) -> int:
    backend = encoder.backend
    return backend.budget * backend.workers if isinstance(backend, LocalBackend) else TOKENS


def _is_outage(error: Exception) -> bool:
    """Return whether no text can be the reason."""
    return isinstance(error, ServerError) and (error.status in (0, 401, 403, 429) or error.status >= 500)
