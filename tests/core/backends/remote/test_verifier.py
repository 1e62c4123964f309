"""The check of a server on first use, against servers whose vectors have v5's golden similarities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support.golden_server import FAULTS, PRECISIONS, TOKENS, GoldenServer, model_vector
from tests.support.remote_encoders import NANO

from jinavec import Encoder, Task
from jinavec.errors import ModelError
from jinavec.models import find_model
from jinavec.vectors import narrow

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")

SMALL = "jina-embeddings-v5-text-small"
BY_CLIENT = ("ollama", "openai")
"""Where the client adds the prefix, and the server counts tokens."""
ALWAYS = ("elasticsearch", "jina")
"""Where the server always adds one."""
NAMED = {
    "the prefix is missing": {"": "prefix is missing"},
    "the prefix is there twice": {"": "prefix is there twice", **dict.fromkeys(ALWAYS, "not these weights")},
    "a prefix of its own": {"": "not these weights"} | dict.fromkeys(BY_CLIENT, "prefix is there twice"),
    "the prefixes are swapped": {"": "swapped"} | dict.fromkeys((*BY_CLIENT, *ALWAYS), "not these weights"),
    "EOS is missing": {"": "not these weights"} | dict.fromkeys(BY_CLIENT, "EOS.* is missing"),
    "EOS is there twice": {"": "not these weights"} | dict.fromkeys(BY_CLIENT, "EOS.* is there twice"),
    "the first token is pooled": {"": "first token is pooled"},
    "the padding is pooled": {"": "padding is pooled"},
    "the mean is pooled": {"": "not these weights, this task or this pooling: .* should be 0.5013"},
    "no causal mask without padding": {"": "equally long"},
    "out of order": {"": "changes with the other texts"},
    "cut": {"": "does not serve"},
}
"""What a refusal says: of every protocol, and of some."""


def load(server: GoldenServer, model: str = NANO, **given: Any) -> Encoder:
    """Load the encoder of a server; where nothing else is said, the two protocols that check less are to check all."""
    protocol = server.answer.protocol
    options = {"verify": True if protocol in ALWAYS else None, **given.pop("options", {})}
    if protocol == "elasticsearch" and "served_as" not in given:
        given["served_as"] = "mine"
    return Encoder.load(model, backend=protocol, url=server.url, options=options, **given)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_right_server_passes_once_a_process(protocol: str, precision: str) -> None:
    with GoldenServer(protocol, precision=precision) as server:
        with load(server, dimension=256) as encoder:
            given = encoder.encode_documents(["a"])
            asked = texts_of(server)[:-1]
        assert len(asked) <= 4 and sum(map(len, asked)) <= 16
        right = model_vector(find_model(NANO), Task.RETRIEVAL, "Document: a")
        np.testing.assert_allclose(given, narrow(right[None], 256), atol=1e-3)
        with load(server) as encoder:
            encoder.encode_queries(["a"])
        assert len(server.asked) == len(asked) + 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_server_is_refused_by_name(protocol: str, fault: str) -> None:
    more = TOKENS.get(fault, 0) if protocol in BY_CLIENT else 0
    change = FAULTS["a prefix of its own"] if fault == "the prefix is there twice" and more else FAULTS[fault]
    if fault == "the prefixes are swapped" and protocol in BY_CLIENT:
        return  # a server that only sees texts cannot do that
    said = NAMED[fault].get(protocol, NAMED[fault][""])
    with GoldenServer(protocol, change=change, more_tokens=more) as server, load(server) as encoder:
        for _ in range(2):
            with pytest.raises(ModelError, match=said):
                encoder.encode_documents(["a"])


def texts_of(server: GoldenServer) -> list[list[str]]:
    """Return the texts of each request."""
    return [next(body[name] for name in ("input", "inputs", "texts") if name in body) for body in bodies(server)]


def bodies(server: GoldenServer) -> list[dict[str, Any]]:
    return [request.body for request in server.asked]
