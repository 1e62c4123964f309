"""Which key goes to which server: the one place that decides it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from jinavec.http_client import checked_key

VENDORS: Mapping[str, str] = MappingProxyType(
    {
        "api.cohere.com": "COHERE_API_KEY",
        "api.jina.ai": "JINA_API_KEY",
        "api.openai.com": "OPENAI_API_KEY",
    }
)
"""The environment variable of each vendor's own host."""
ANYWHERE = "JINAVEC_API_KEY"


def key_variable(url: str) -> str:
    """Return the environment variable that may hold the key for an address; a vendor's key goes to the vendor only."""
    parts = urlsplit(url)
    return VENDORS.get(parts.hostname or "", ANYWHERE) if parts.scheme == "https" else ANYWHERE


def find_key(url: str, api_key: str | None) -> str:
    """Return the key for an address: the one given, else that of the environment; empty without one.

    Raises:
        InvalidInput: a key that no header can carry; the message does not show it.
    """
    return checked_key(os.environ.get(key_variable(url), "") if api_key is None else api_key)
