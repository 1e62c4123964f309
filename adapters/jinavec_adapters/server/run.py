"""serve: loads the models, then listens until it is told to stop; in one process or in several."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import warnings
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from uvicorn.config import STARTUP_FAILURE

from jinavec.errors import JinavecError, ModelError, ServerError
from jinavec_adapters.server.app import create_app
from jinavec_adapters.server.http_limits import LimitedConnection
from jinavec_adapters.server.metrics import SHARED, Metrics
from jinavec_adapters.server.middleware import request_id
from jinavec_adapters.server.models import Models
from jinavec_adapters.server.settings import ServerSettings

KEEP_ALIVE = 75
"""Seconds a connection may rest; Elasticsearch keeps its own for 60."""
STARTING = 120
"""Seconds in which a worker that loads a model may be deaf to its supervisor."""
_HANDED = "JINAVEC_SERVE_HANDED_ON"
_FAILURE = "failure"
"""The file of the shared folder in which a worker says why it cannot start."""


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT; shuts down gracefully: accepted requests are answered first.

    Raises:
        JinavecError: a model cannot be loaded, or the address cannot be had; nothing listens then.
    """
    _log_as_json()
    _require_address(settings)
    if settings.workers > 1:
        _serve_by_workers(settings)
        return
    app = _load(settings)
    signal.signal(signal.SIGTERM, _exit_with_0)
    uvicorn.run(app, **_listening(settings))


def _require_address(settings: ServerSettings) -> None:
    """Make sure that the address can be had, before minutes go into loading models."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise ServerError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with --host or --port"
        ) from error


def _load(settings: ServerSettings) -> FastAPI:
    metrics = Metrics()
    return create_app(settings, Models.load(settings, metrics), metrics)


def _listening(settings: ServerSettings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "http": partial(LimitedConnection, patience=settings.receive_timeout),
        "ws": "none",
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": settings.shutdown_timeout,
    }


def _serve_by_workers(settings: ServerSettings) -> None:
    """Let uvicorn's supervisor start the workers, and start those again that die."""
    with TemporaryDirectory(prefix="jinavec-serve-") as folder:
        os.environ[SHARED] = folder
        os.environ[_HANDED] = settings.hand_on()
        uvicorn.run(
            f"{__name__}:load_worker",
            factory=True,
            workers=settings.workers,
            timeout_worker_healthcheck=STARTING,
            **_listening(settings),
        )
        failure = Path(folder, _FAILURE)
        if failure.exists():
            raise ModelError(failure.read_text("utf-8"))


def load_worker() -> FastAPI:
    """Return the application of one worker, which was handed its settings by the environment."""
    _log_as_json()
    try:
        return _load(ServerSettings.taken_over(os.environ[_HANDED]))
    except Exception as error:
        reason = str(error) if isinstance(error, JinavecError) else f"{type(error).__name__}: {error}"
        Path(os.environ[SHARED], _FAILURE).write_text(reason, "utf-8")
        sys.exit(STARTUP_FAILURE)  # the supervisor tries no other


def _exit_with_0(number: int, frame: FrameType | None) -> None:
    """Take the signal that uvicorn, having finished, raises once more: the process ends with 0."""


def _log_as_json() -> None:
    """Log one JSON object a line to standard error, each with the id of its request."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter(
        "{asctime}{levelname}{name}{message}",
        style="{",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],
    )
    handler.setFormatter(formatter)
    handler.addFilter(_add_request_id)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    warnings.simplefilter("default")  # each place once, not each request


def _add_request_id(record: logging.LogRecord) -> bool:
    if id := request_id.get():
        record.request_id = id
    return True
