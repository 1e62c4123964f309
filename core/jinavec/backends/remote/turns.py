"""Turns: who may have a request under way, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from jinavec.backends.remote.pace import Pace


class Turns:
    """As many turns as a pace has requests at once; used on one event loop."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def are_waited_for(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    async def take(self) -> None:
        """Wait for a turn, which is to be given back."""
        if not self._waiting and self._taken < self._pace.width:
            self._taken += 1
            return
        handed = asyncio.get_running_loop().create_future()
        self._waiting.append(handed)
        try:
            await handed
        except asyncio.CancelledError:
            if handed.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(handed)
            else:  # it was handed over all the same
                self.give_back()
            raise

    def give_back(self) -> None:
        """End a turn; as many begin as the pace has now."""
        self._taken -= 1
        while self._waiting and self._taken < self._pace.width:
            handed = self._waiting.popleft()
            if not handed.done():
                self._taken += 1
                handed.set_result(None)
