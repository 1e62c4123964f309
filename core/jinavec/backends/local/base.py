"""LocalBackend: runs a model in this process; tokenizes, plans batches, and runs them on worker threads."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Lock

import numpy as np

from jinavec.backends.base import Backend, Report
from jinavec.backends.local.errors import model_errors
from jinavec.backends.local.tokenizer import Batch, Tokenizer, plan
from jinavec.backends.verification import Verification
from jinavec.errors import InvalidInput, ModelError, TextTooLong, UnknownTask, warn
from jinavec.golden import PUBLISHED
from jinavec.models import ModelProfile
from jinavec.process import cores, free_memory
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32

CHUNK = 1024
"""Texts that are tokenized and sorted together, while the batches of those before them run."""
PROCESSOR_BUDGET = 512
"""Cost of a batch in tokens of short texts, padding included: enough for a processor's full speed, and few enough to
stay in its cache."""
LONG = 2048
"""Tokens of a batch from which on it runs with all threads, and no other such batch beside it: it needs much memory."""
ACCELERATOR_BUDGET = 16_384
MUCH_MEMORY = 1_000_000_000
"""Bytes from which on it is said what a call will take."""


class LocalBackend(Backend):
    """A model in this process: a subclass runs one batch.

    Several workers of one thread each are faster than one of several threads, whatever the runtime. So many texts keep
    all workers busy, each with its own threads; a batch that is alone, and a long one, gets the threads of all.
    """

    budget = PROCESSOR_BUDGET

    def __init__(
        self,
        profile: ModelProfile,
        tokenizer: Tokenizer,
        workers: int,
        prepare: Callable[[], object] | None = None,
        prepare_wide: Callable[[], object] | None = None,
    ) -> None:
        """Start the workers.

        Args:
            profile: what the model should be.
            tokenizer: its own.
            workers: how many batches run side by side.
            prepare: called once in each worker's thread.
            prepare_wide: called once in the thread of the batches that get the threads of all workers.
        """
        self.profile = profile
        self.tokenizer = tokenizer
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, f"jinavec-{self.name}", initializer=prepare)
        self._wide = self._pool
        if workers > 1:
            self._wide = ThreadPoolExecutor(1, f"jinavec-{self.name}-wide", initializer=prepare_wide)
        self._counting = Lock()
        self._under_way = 0  # batches of all calls

    @abstractmethod
    def run(self, batch: Batch, task: Task) -> Float32:
        """Return the pooled vectors of a batch, float32 (texts, width); called from several threads.

        Raises:
            ModelError: the runtime failed.
        """

    def runtime_errors(self, batch: Batch) -> AbstractContextManager[None]:
        """Raise what the runtime raises on a batch as a ModelError; holds calls of the runtime and nothing else."""
        texts, longest = batch.ids.shape
        limit = self.profile.limit or "unknown to its profile"
        return model_errors(f"{self.profile.name} failed on {texts} texts of {longest} tokens (its limit is {limit})")

    def memory(self, texts: int, longest: int) -> int:
        """Return the bytes that a batch takes beside the weights, where they grow with the square of the length; or 0.

        Args:
            texts: how many.
            longest: tokens of the longest one.
        """
        return 0

    @property
    def batch_tokens(self) -> int | None:
        """Tokens of texts that keep all workers busy."""
        return self.budget * self.workers

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts that already carry their prompt.

        Returns:
            float32 (n, width), in the order of the texts; any length.

        Raises:
            UnknownTask: the weights serve another task only.
            TextTooLong: a text exceeds the limit, and the report refuses that; or there is no memory for it.
            ModelError: the model failed, or its vectors have another width than the profile says.
        """
        if self.task not in (None, task):
            raise UnknownTask(f"these weights of {self.profile.name} were loaded for {self.task}, not for {task}")
        report = report or Report()
        vectors = np.empty((len(texts), self.profile.width), np.float32)
        chunk = CHUNK if report.overflow == "truncate" else max(1, len(texts))  # refuse before any work is done
        running: deque[Future[int]] = deque()
        try:
            for start in range(0, len(texts), chunk):
                before = len(running)
                running += self._submit(texts[start : start + chunk], vectors[start : start + chunk], task, report)
                self._collect(running, before, report)
            self._collect(running, len(running), report)
        finally:
            for future in running:
                future.cancel()
        return vectors

    def verify(self, profile: ModelProfile, task: Task) -> Verification:
        """Compare token ids, then similarities, with the golden values of the model.

        Raises:
            ModelError: they are not the model's; the message has the numbers.
        """
        for known in () if profile.golden is None else profile.golden.tokens:
            (ids,) = self.tokenizer.encode([known.text], Report())
            if len(ids) != known.count or known.ids not in ((), tuple(ids)):
                raise ModelError(
                    f"not the tokenizer of {profile.name}: it reads {known.text!r} as {ids}, and should as"
                    f" {list(known.ids) or f'{known.count} tokens'}"
                )
        return super().verify(profile, task)

    def settle(self, task: Task, *, named: bool, verify: bool) -> None:
        """Prove that the weights are those of a task, or say that nothing does.

        Args:
            task: the one they were loaded for.
            named: whether the place of the weights, or one of their files, names it.
            verify: whether to compare them with the golden values.

        Raises:
            ModelError: they are not.
        """
        profile = self.profile
        if verify:
            found = self.verify(profile, task)
            for said in (*found.warnings, *(f"{name} not proved: {why}" for name, why in found.unproved.items())):
                warn(f"{profile.name}, {task}: {said}")
        elif not named and (profile.base or profile.name) in PUBLISHED:
            warn(
                f"nothing names the task of these weights of {profile.name}, which are taken for those of {task};"
                " options={'verify': True} compares them with the published values"
            )

    def close(self) -> None:
        """Finish the batches that run, drop those that wait, and end the workers."""
        self._pool.shutdown(cancel_futures=True)
        self._wide.shutdown(cancel_futures=True)

    def _submit(self, texts: Sequence[str], vectors: Float32, task: Task, report: Report) -> list[Future[int]]:
        ids = self.tokenizer.encode(texts, report)
        report.counts += map(len, ids)
        self._fill_blank([row for row, tokens in enumerate(ids) if not tokens], vectors, report)
        batches = plan([len(tokens) for tokens in ids], self.budget, self.workers)
        self._check_memory([(len(rows), len(ids[rows[0]])) for rows in batches])
        alone = len(batches) == 1 and not self._under_way
        try:
            return [self._start(self.tokenizer.batch(ids, rows), task, vectors, alone) for rows in batches]
        except RuntimeError as error:
            raise ModelError(f"the encoder of {self.profile.name} is closed") from error

    def _start(self, batch: Batch, task: Task, vectors: Float32, alone: bool) -> Future[int]:
        pool = self._wide if alone or batch.ids.size >= LONG else self._pool
        future = pool.submit(self._work, batch, task, vectors)
        self._count(1)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, batches: int) -> None:
        with self._counting:
            self._under_way += batches

    def _check_memory(self, batches: list[tuple[int, int]]) -> None:
        """Refuse, before any of them runs, batches that would take more memory than there is.

        Args:
            batches: texts, and tokens of the longest one; those with the longest texts come first.
        """
        long = [batch for batch in batches if batch[0] * batch[1] >= LONG]
        together = long[:1] + [batch for batch in batches if batch not in long][: self.workers]
        needed = sum(self.memory(*batch) for batch in together)
        if needed < MUCH_MEMORY:
            return
        free = free_memory()
        about = (
            f"texts of {batches[0][1]} tokens take about {needed / 1e9:.1f} GB of memory with this graph, whose"
            " attention is of an unknown kind"
        )
        remedy = "use the backend torch, fewer workers, or a profile with a lower limit"
        if free is not None and needed > free:
            raise TextTooLong(f"{about}, and {free / 1e9:.1f} GB are free; {remedy}")
        warn(f"{about}; to take less, {remedy}")

    def _fill_blank(self, rows: list[int], vectors: Float32, report: Report) -> None:
        vectors[rows] = np.eye(1, self.profile.width, dtype=np.float32)
        report.blank += len(rows)
        if rows:
            report.finished(len(rows))

    def _work(self, batch: Batch, task: Task, vectors: Float32) -> int:
        pooled = self.run(batch, task)
        if pooled.shape[1:] != (self.profile.width,):
            check_width(self.profile, pooled.shape[-1])
        vectors[batch.rows] = pooled
        return len(batch.rows)

    def _collect(self, running: deque[Future[int]], count: int, report: Report) -> None:
        for _ in range(count):
            try:
                texts = running.popleft().result()
            except CancelledError as error:
                raise ModelError(f"the encoder of {self.profile.name} was closed while it worked") from error
            report.finished(texts)


def check_width(profile: ModelProfile, width: object) -> None:
    """Refuse weights of another width than the profile says.

    Raises:
        ModelError: the widths differ.
    """
    if isinstance(width, int) and width != profile.width:
        raise ModelError(f"the weights give vectors of width {width}; {profile.name} has width {profile.width}")


def count_workers(workers: int | None, threads: int, *, processor: bool) -> int:
    """Return how many workers to start: those asked for, else as many as the processor has room for, else one.

    Raises:
        InvalidInput: no number of workers or threads.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise InvalidInput(f"option {name} must be at least 1, not {number}")
    return workers or (max(1, cores() // threads) if processor else 1)
