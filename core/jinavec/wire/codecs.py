"""The codecs of all protocols by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jinavec.wire import cohere, eis, elasticsearch, jina, ollama, openai, qdrant, tei
from jinavec.wire.codec import Codec

_PROTOCOLS = (cohere, eis, elasticsearch, jina, ollama, openai, qdrant, tei)

CODECS: Mapping[str, Codec] = MappingProxyType({protocol.CODEC.name: protocol.CODEC for protocol in _PROTOCOLS})
