"""Targets: open_engine finds an engine by the scheme of its target, such as ``faiss:DIR``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jinavec import plugins
from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine
from jinavec.errors import EngineError, InvalidTarget, InvalidType
from jinavec.http_client import shown_address
from jinavec.log import timed

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "elasticsearch": "jinavec_integrations.elasticsearch:ElasticsearchIndex",
        "faiss": "jinavec_integrations.faiss:BinaryIndex",
        "qdrant": "jinavec_integrations.qdrant:QdrantIndex",
    }
)
"""Built-in engines by the scheme of their targets; imported on first use. Other distributions add theirs by entry
points of the group ``jinavec.engines``."""


def open_engine(
    target: str, *, contract: Contract | None = None, encoder: Encoder | None = None, options: object = None
) -> Engine:
    """Open an engine by its target, such as ``faiss:DIR``.

    Args:
        target: ``SCHEME:LOCATION``; a location that starts with ``~`` is below the home folder.
        contract: creates what is not there, or compares with what is.
        encoder: the same under ``encoder.contract``; ``add`` and ``search`` then also take texts.
        options: the engine's own options dataclass, or a mapping of its fields.

    Raises:
        InvalidTarget: no such engine, or no location.
        IndexNotFound: nothing there, and neither contract nor encoder to create it.
        ContractMismatch: it is there under another contract.
        MissingExtra: the engine's library is not installed.
    """
    if contract is not None and not isinstance(contract, Contract):
        raise InvalidType(f"contract must be a Contract, not {type(contract).__name__}")
    if contract is not None and encoder is not None:
        contract.check(encoder.contract, ours="the contract")
    engine, location = find_engine(target)
    given = encoder.contract if encoder is not None else contract
    with timed("opening %s", _shown(str(target))):
        opened = engine.open_target(location, contract=given, encoder=encoder, options=options)
    opened.given = given
    return opened


def find_engine(target: str) -> tuple[type[Engine], str]:
    """Split a target into its engine and the location after the scheme, with ``~`` expanded: no shell does that there.

    Raises:
        InvalidTarget: no such engine, or no location.
    """
    scheme, colon, location = str(target).partition(":")
    try:
        engine: Any = plugins.find(plugins.ENGINES, scheme, ENGINES) if colon and location else None
    except KeyError:
        engine = None
    except ModuleNotFoundError as error:
        raise EngineError(f"the engine {scheme!r} is not part of this installation: {error}") from error
    if engine is None:
        known = ", ".join(plugins.names(plugins.ENGINES, ENGINES))
        raise InvalidTarget(
            f"cannot read the target {_shown(str(target))!r}; write ENGINE:LOCATION with one of: {known}"
        )
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise EngineError(f"the entry point of the engine {scheme!r} is {engine!r}, not a subclass of Engine")
    return engine, os.path.expanduser(location)


def _shown(target: str) -> str:
    """Return a target without the user name, password and query that an address in it may hold."""
    scheme, colon, location = target.partition(":")
    return f"{scheme}:{shown_address(location)}" if colon and "//" in location else target
