"""Encoders for the tests: one with two different prefixes, and one that counts and can be made to wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from jinavec import Backend, Encoder, Report, Role, Task
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.vectors import Float32


class Watched(Backend):
    """Passes on to the lexical backend, keeps the texts it saw, and where it ran."""

    name = "watched"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.threads: set[int] = set()
        self.waits = False
        self.gate = threading.Event()
        self.inner = LexicalBackend.load(Encoder.load("lexical").settings, None)  # pyright: ignore[reportArgumentType]

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.seen += texts
        self.threads.add(threading.get_ident())
        if self.waits:
            assert self.gate.wait(120), "the event loop did not run meanwhile"
        return self.inner.embed(texts, task=task, role=role, report=report)


async def keeps_the_loop_free(backend: Watched, work: asyncio.Future[object] | asyncio.Task[object]) -> None:
    """Only a loop that runs can open the gate the backend waits for."""
    backend.waits = True
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, backend.gate.set)
    await work
