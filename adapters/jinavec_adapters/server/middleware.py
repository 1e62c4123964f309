"""AccessLog: around every request a request id, one line of log, and its metrics; never a text or a key."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jinavec_adapters.server.metrics import Metrics

HEADER = "X-Request-Id"
STATUS = "jinavec.status"
"""The scope's name for the status of the answer."""
log = logging.getLogger("jinavec.access")
request_id: ContextVar[str] = ContextVar("request_id", default="")

_QUIET = ("/health", "/ready", "/metrics")
"""Routes that probes ask every few seconds: in the metrics, not in the log."""


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex
        request_id.set(id)
        started, status = time.perf_counter(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = scope[STATUS] = message["status"]
                MutableHeaders(scope=message)[HEADER] = id
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: str = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route in _QUIET:
            return
        notes: dict[str, Any] = scope.get("jinavec.notes", {})
        log.info("request", extra={"route": route, "status": status, "ms": round(seconds * 1000, 2), **notes})
