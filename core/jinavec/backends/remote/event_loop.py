"""EventLoop: an event loop on a thread of its own, so that sync and async callers share one piece of logic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from threading import Lock, Thread, current_thread
from typing import Any, Generic, TypeVar

from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec.process import PerProcess

S = TypeVar("S")
T = TypeVar("T")


class Closed(Exception):
    """Nothing can be run any more."""


class EventLoop(Generic[S]):
    """Runs coroutines on one loop, beside something opened on that loop, such as a client.

    The loop starts at first use, and a forked process starts its own.
    """

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[S]], name: str) -> None:
        self._open = open
        self._name = name
        self._running = PerProcess(self._start)
        self._thread: Thread | None = None
        self._lock = Lock()
        self._closed = False

    def submit(self, work: Callable[[S], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine; it is given what was opened. Cancelling the future cancels it.

        Raises:
            Closed: the loop was closed.
            InvalidInput: called on the loop's own thread, which would wait for itself.
        """
        if current_thread() is self._thread:
            raise InvalidInput("deadlock: do not call encode() from the progress callback")
        with self._lock:  # a portal that stops while it takes a task would leave the future pending for ever
            if self._closed:
                raise Closed
            running = self._running.get()
            return running.portal.start_task_soon(work, running.opened)

    def close(self) -> None:
        """Cancel what runs, close what was opened, and end the thread. Idempotent."""
        with self._lock:
            self._closed = True
        running = self._running.take()
        if running is not None:
            running.stop()

    def _start(self) -> _RunningLoop[S]:
        running = _RunningLoop(self._open, self._name)
        self._thread = running.thread
        return running


class _RunningLoop(Generic[S]):
    """A loop while it runs, and anyio's portal into it.

    ``start_blocking_portal`` would do, were there no forks: it is a generator, and a forked process that collects it
    waits for a thread it does not have.
    """

    portal: Any
    opened: S

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[S]], name: str) -> None:
        ready: Future[None] = Future()
        self.thread = Thread(target=lambda: asyncio.run(self._serve(open, ready)), name=name, daemon=True)
        self.thread.start()
        ready.result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        if current_thread() is not self.thread:  # where the garbage collector may call this, too
            self.thread.join(timeout=5)

    async def _serve(self, open: Callable[[], AbstractAsyncContextManager[S]], ready: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            portal = require("anyio.from_thread", "remote").BlockingPortal()
            async with open() as self.opened, portal as self.portal:
                ready.set_result(None)
                await self._stop.wait()
                await self.portal.stop(cancel_remaining=True)  # what runs ends before what it uses is closed
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
