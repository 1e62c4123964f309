"""A model server of a known pace: so many texts a second, one request after the other or side by side."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from .scripted_server import Asked, Reply, ScriptedServer

WIDTH = 32


class PacedServer(ScriptedServer):
    """Speaks Jina's protocol; goes on with a request whose client is gone, as servers that work in order do."""

    def __init__(self, rate: float | Callable[[int], float], *, in_order: bool, fails: int = 0) -> None:
        """Say how fast.

        Args:
            rate: texts a second, of one request or of all; or a function of the texts that were embedded before.
            in_order: whether it works on one request after the other.
            fails: the status of every fifth request; 0: none.
        """
        super().__init__("jina", fault=self._work, width=WIDTH)
        self.sends: Counter[str] = Counter()
        """How often each text was sent."""
        self.sizes: list[int] = []
        """Texts of each request."""
        self._rate = rate
        self._in_order = in_order
        self._fails = fails
        self._turn = threading.Lock()
        self._done = 0

    def _work(self, asked: Asked, number: int) -> Reply | None:
        texts = asked.body["input"]
        with self._lock:
            self.sends.update(texts)
            self.sizes.append(len(texts))
        if self._fails and number % 5 == 0:
            return Reply({"detail": "every fifth"}, self._fails)
        if self._in_order:
            with self._turn:
                self._embed(len(texts))
        else:
            self._embed(len(texts))
        return None

    def _embed(self, texts: int) -> None:
        time.sleep(texts / (self._rate(self._done) if callable(self._rate) else self._rate))
        self._done += texts
