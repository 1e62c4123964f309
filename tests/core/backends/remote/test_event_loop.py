"""One event loop on a thread of its own: what it runs, how it ends, and what becomes of it in a forked process."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jinavec.backends.remote.event_loop import Closed, EventLoop
from jinavec.errors import InvalidInput

pytest.importorskip("anyio")


class Log:
    """What happened to the thing that is opened on the loop."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[str]:
        self.events.append("opened")
        try:
            yield "it"
        finally:
            await asyncio.sleep(0)  # closing awaits, as a client's does
            self.events.append("closed")


async def given(opened: str) -> str:
    return opened


def test_it_is_opened_at_first_use_once_and_on_the_loop() -> None:
    log = Log()
    loop = EventLoop(log.open, "test")
    assert not log.events
    assert [loop.submit(given).result(10) for _ in range(3)] == ["it"] * 3
    assert log.events == ["opened"]
    loop.close()
    assert log.events == ["opened", "closed"]


def test_what_cannot_be_opened_is_the_callers_error() -> None:
    @asynccontextmanager
    async def fail() -> AsyncGenerator[None]:
        raise ZeroDivisionError
        yield

    async def nothing(_: None) -> None:
        return

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            EventLoop(fail, "test").submit(nothing)


def test_closing_cancels_what_runs_before_what_it_uses_is_closed() -> None:
    log, started = Log(), threading.Event()

    async def wait(opened: str) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            log.events.append("cancelled")

    loop = EventLoop(log.open, "test")
    future = loop.submit(wait)
    started.wait(10)
    for _ in range(2):
        loop.close()
    assert future.cancelled()
    assert log.events == ["opened", "cancelled", "closed"]
    with pytest.raises(Closed):
        loop.submit(given)


def test_cancelling_a_future_cancels_its_coroutine_alone() -> None:
    log, started, ended = Log(), threading.Event(), threading.Event()

    async def wait(opened: str) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    loop = EventLoop(log.open, "test")
    future = loop.submit(wait)
    started.wait(10)
    future.cancel()
    assert ended.wait(10)
    assert loop.submit(given).result(10) == "it"
    loop.close()


def test_waiting_for_the_loop_on_its_own_thread_is_refused() -> None:
    loop = EventLoop(Log().open, "test")

    async def again(opened: str) -> None:
        loop.submit(given).result()

    with pytest.raises(InvalidInput, match="deadlock: do not call encode"):
        loop.submit(again).result(10)
    loop.close()


def test_it_can_be_closed_on_its_own_thread() -> None:
    log = Log()
    loop = EventLoop(log.open, "test")

    async def close(opened: str) -> None:
        loop.close()

    loop.submit(close).exception(10)
    for thread in threading.enumerate():
        if thread.name == "test":
            thread.join(10)
    assert log.events == ["opened", "closed"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_starts_a_loop_of_its_own_and_ends() -> None:
    script = """
import gc, os, sys
from tests.core.backends.remote.test_event_loop import EventLoop, Log, given
log = Log()
loop = EventLoop(log.open, "test")
assert loop.submit(given).result(10) == "it"
child = os.fork()
assert loop.submit(given).result(10) == "it"
assert log.events == (["opened"] if child else ["opened", "opened"])
gc.collect()
if child:
    assert os.waitpid(child, 0)[1] == 0
loop.close()
assert log.events[-1] == "closed"
sys.exit(0)
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    root = Path(__file__).parents[4]
    done = subprocess.run(command, cwd=root, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_left_when_it_is_forgotten_after_closing() -> None:
    loop = EventLoop(Log().open, "left")
    loop.submit(given).result(10)
    loop.close()
    del loop
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "left"]
