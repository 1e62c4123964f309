"""LimitedConnection: bounds the time and the size of a request's head, before there is a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD = 64 * 1024
"""Bytes of a request line and its headers."""


class LimitedConnection(HttpToolsProtocol):
    """A connection of uvicorn, which by itself would wait for the rest of a head for ever, and keep all of it."""

    def __init__(self, *arguments: Any, patience: float, **more: Any) -> None:
        """Take what uvicorn gives, and the seconds in which a head must come."""
        super().__init__(*arguments, **more)
        self._patience = patience
        self._head = 0
        """Bytes of a head that is not complete."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; give up on a head that is too large."""
        awaited = self._timer
        super().data_received(data)
        if awaited is not None and self._timer is awaited:  # the same head as before, not one behind it
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the head that begins, unless it is the first one."""
        super().on_message_begin()
        if self._timer is None:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._have_head()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._head = 0
        self._timer = self.loop.call_later(self._patience, self.transport.close)

    def _have_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
