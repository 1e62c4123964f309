"""LoopThread: an event loop on a thread of its own, so that sync and async callers share one piece of logic."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from threading import Lock, Thread, current_thread
from typing import Any, Generic, TypeVar

from jinavec.errors import InvalidInput

S = TypeVar("S")
T = TypeVar("T")


class Closed(Exception):
    """Nothing can be run any more."""


class LoopThread(Generic[S]):
    """Runs coroutines on one loop, beside something opened on that loop, such as a client; started at first use."""

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[S]], name: str) -> None:
        self._open = open
        self._name = name
        self._lock = Lock()
        self._running: _Running[S] | None = None
        self._closed = False

    def submit(self, work: Callable[[S], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine; it is given what was opened.

        Raises:
            Closed: it is.
            InvalidInput: called on the loop's own thread, which would wait for itself.
        """
        with self._lock:
            if self._closed:
                raise Closed
            if self._running is None or self._running.process != os.getpid():  # threads do not survive a fork
                self._running = _Running(self._open, self._name)
            running = self._running
        if running.thread is current_thread():
            raise InvalidInput("a progress callback cannot encode with the encoder that calls it: it waits for itself")
        return asyncio.run_coroutine_threadsafe(work(running.opened), running.loop)

    def close(self) -> None:
        """Cancel what runs, close what was opened, and end the thread."""
        with self._lock:
            running, self._running, self._closed = self._running, None, True
        if running is not None and running.process == os.getpid():
            running.stop()


class _Running(Generic[S]):
    """A loop while it runs."""

    loop: asyncio.AbstractEventLoop
    opened: S

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[S]], name: str) -> None:
        self.process = os.getpid()
        self._ready: Future[None] = Future()
        self.thread = Thread(target=lambda: asyncio.run(self._serve(open)), name=name, daemon=True)
        self.thread.start()
        self._ready.result()

    async def _serve(self, open: Callable[[], AbstractAsyncContextManager[S]]) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with open() as self.opened:
                self._ready.set_result(None)
                await self._stop.wait()
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(timeout=5)
