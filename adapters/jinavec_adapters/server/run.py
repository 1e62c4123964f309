"""serve: loads the models, then listens until it is told to stop."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from types import FrameType

import uvicorn
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from jinavec_adapters.server.app import create_app
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.models import Models
from jinavec_adapters.server.observer import request_id
from jinavec_adapters.server.settings import ServerSettings

KEEP_ALIVE = 75
"""Seconds a connection may rest; Elasticsearch keeps its own for 60."""


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted is finished first.

    Raises:
        JinavecError: a model cannot be loaded; nothing listens then.
    """
    _log_as_json()
    metrics = Metrics()
    models = Models.load(settings, metrics)
    config = uvicorn.Config(
        create_app(settings, models, metrics),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,  # pyright: ignore[reportArgumentType]
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    signal.signal(signal.SIGTERM, _end_well)
    uvicorn.Server(config).run()


def _end_well(number: int, frame: FrameType | None) -> None:
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
