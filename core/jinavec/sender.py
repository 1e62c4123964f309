"""Sender: work done in other threads while this one makes more of it; bounded, in order, and never lost in silence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Sender:
    """Stores batches that were embedded while the next ones are being embedded.

    At most one batch more than there are threads is under way, so that memory stays flat. As a context it waits at its
    end for all of them: when the caller failed, what had been handed over is stored all the same; when a batch failed,
    those that had not begun are dropped.
    """

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, "jinavec-sender")
        self._most = threads + 1
        self._under_way: deque[tuple[Future[Any], Callable[[Any], object] | None]] = deque()

    def submit(self, work: Callable[[], Result], done: Callable[[Result], object] | None = None) -> None:
        """Begin a batch; waits while too many are under way.

        Args:
            work: called in another thread.
            done: called with its result in the caller's thread, batch by batch in the order they were given.

        Raises:
            Exception: whatever an earlier batch raised; this one is not begun.
        """
        self.check()
        self._wait(self._most - 1)
        self._under_way.append((self._pool.submit(work), done))

    def check(self) -> None:
        """Learn of a failure soon; to be called now and then, from any thread, while the next batch is made.

        Raises:
            Exception: whatever a batch raised.
        """
        for future, _ in self._under_way:
            if future.done() and (error := future.exception()) is not None:
                raise error

    def finish(self) -> None:
        """Wait for every batch.

        Raises:
            Exception: whatever the first that failed raised; those before it are reported.
        """
        self._wait(0)

    def _wait(self, at_most: int) -> None:
        while len(self._under_way) > at_most:
            future, done = self._under_way[0]
            result = future.result()  # one that failed stays the first
            self._under_way.popleft()
            if done is not None:
                done(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.finish()
        except Exception as other:
            if error is None:
                raise
            if other is not error:
                error.add_note(f"and what was handed over before was not all stored: {other}")
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
