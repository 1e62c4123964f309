"""LimitedConnection: bounds the time and the size of all that a client sends or does not read, whoever it is."""

from __future__ import annotations

import asyncio
import math
from typing import Any, NoReturn

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jinavec_adapters.server.middleware import STATUS

LARGEST_HEAD = 64 * 1024
"""Bytes of a request line and its headers; also of what stands around a body: sizes of its chunks, and trailers."""
MOST_HEADERS = 128
LARGEST_REST = 32 * 2**20
"""Bytes of a request that may still come after its answer."""
MOST_PIPELINED = 4
"""Requests that may wait on one connection for the answer to the one before them."""
SLICE = 16 * 1024
"""Bytes that are parsed before the limits are looked at again."""


class Refused(Exception):
    """Ends the parser, which makes uvicorn answer 400 and close."""


class LimitedConnection(HttpToolsProtocol):
    """A connection of uvicorn, which by itself would wait for a client for ever, and keep all that it sends.

    A client has a time and a number of bytes for each head, and for the rest of a request that has its answer already.
    A body that is awaited is the handler's, which knows its limits; what stands around it counts here. An answer that
    is not read in time ends the connection.
    """

    def __init__(self, *arguments: Any, patience: float, most: int, **more: Any) -> None:
        """Take what uvicorn gives, the seconds that a client has each time, and how many connections there may be."""
        super().__init__(*arguments, **more)
        self._patience = patience
        self._keep_alive: int = self.timeout_keep_alive
        self._most = most
        self._reading: asyncio.TimerHandle | None = None
        """Runs while the client must send something in time."""
        self._left = 0
        """Bytes that it may send until then."""
        self._writing: asyncio.TimerHandle | None = None
        """Runs from the first byte of an answer that has to wait, to the end of that answer."""
        self._answering = False
        self._in_message = False
        self._in_head = False
        self._deaf = False
        """Whether a request asked for another protocol: it is answered, and what follows is not read."""
        self._around = 0
        """Bytes since the last one of a body."""
        self._reason = ""
        """Why a request is refused."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Wait for the first head."""
        super().connection_made(transport)
        # So that writing is paused exactly while something is unsent; TLS would begin paused with a limit of 0.
        transport.set_write_buffer_limits(high=1, low=0)
        if len(self.connections) > self._most:
            transport.abort()
        self._await(LARGEST_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._reading = _cancelled(self._reading)
        self._writing = _cancelled(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and give up on what is too large."""
        if self._reading is None and not self._in_message and self._is_answered():
            self._await(LARGEST_HEAD)  # also where only empty lines come
        for start in range(0, len(data), SLICE):
            if self._deaf or self.transport.is_closing():
                return
            piece, awaited = data[start : start + SLICE], self._reading
            self._around += len(piece)
            super().data_received(piece)
            if awaited is not None and self._reading is awaited:  # the same head or rest as before
                self._left -= len(piece)
            if self._left < 0 or (self._in_message and not self._in_head and self._around > LARGEST_HEAD):
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Say why."""
        super().send_400_response(self._reason or msg)

    def on_message_begin(self) -> None:
        """Wait for the head that begins, unless it is awaited already."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse("too many requests wait on this connection")
        super().on_message_begin()
        self._in_message = self._in_head = True
        if self._reading is None:
            self._await(LARGEST_HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; drop a trailer, which nobody asked for, and take no other request behind it."""
        if not self._in_head:
            self.cycle.keep_alive = False
        elif len(self.headers) >= MOST_HEADERS:
            self._refuse(f"the request has more than {MOST_HEADERS} headers")
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no longer; refuse a request without one Host, and a body in a protocol that is spoken nowhere here."""
        assert self.parser is not None
        names = [name for name, _ in self.headers]
        if names.count(b"host") > 1 or (b"host" not in names and self.parser.get_http_version() == "1.1"):
            self._refuse("a request needs one Host header")
        self._deaf = self.parser.should_upgrade()
        if self._deaf and (b"content-length" in names or b"transfer-encoding" in names):
            self._refuse("no other protocol is spoken here: send no Upgrade header")  # the parser would drop the body
        self._reading = _cancelled(self._reading)
        self._in_head = False
        self._around = 0
        super().on_headers_complete()
        if self._deaf:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._around = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request, if this one has its answer."""
        super().on_message_complete()
        self._in_message = False
        if self.cycle.response_complete:
            self._reading = _cancelled(self._reading)
            if not self.cycle.keep_alive:
                self.transport.close()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Wait for the rest of the request, if its answer came before it; rest no longer after a refusal."""
        self._answering = False
        refused = self.cycle.scope.get(STATUS, 200) >= 400
        self.timeout_keep_alive = min(math.ceil(self._patience), self._keep_alive) if refused else self._keep_alive
        if not self.flow.write_paused:
            self._writing = _cancelled(self._writing)
        super().on_response_complete()
        if self._in_message and not self._in_head and self.cycle.response_complete:
            self._await(LARGEST_REST)

    def pause_writing(self) -> None:
        """Give the client its time to read, from the first byte of the answer that it has not taken."""
        super().pause_writing()
        begun = not self._is_answered() and self.cycle.response_started
        self._answering = begun or bool(self.pipeline)  # else it is the word to continue, or a refusal
        if self._writing is None:
            self._writing = self.loop.call_later(self._patience, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop its time after the last byte."""
        super().resume_writing()
        if not self._answering:
            self._writing = _cancelled(self._writing)

    def _refuse(self, reason: str) -> NoReturn:
        self._reason = reason
        raise Refused(reason)

    def _is_answered(self) -> bool:
        return not self.cycle or self.cycle.response_complete

    def _await(self, size: int) -> None:
        _cancelled(self._reading)
        self._left = size
        self._reading = self.loop.call_later(self._patience, self.transport.close)


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
