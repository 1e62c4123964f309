"""Settings and options that a server's backend does not take."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.remote_encoders import NANO

from jinavec import Encoder
from jinavec.backends import (
    ElasticsearchInferenceOptions,
    LexicalOptions,
    OnnxOptions,
    RemoteOptions,
    StaticOptions,
    TorchOptions,
)
from jinavec.errors import InvalidInput
from jinavec.options import plain

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


@pytest.mark.parametrize(
    "given",
    [
        {"source": "folder"},
        {"revision": "abc"},
        {"options": {"batch": 0}},
        {"options": {"timeout": -1}},
        {"options": {"requests_per_minute": 0}},
        {"options": {"encoding": "binary"}},
    ],
    ids=str,
)
def test_what_a_server_does_not_take(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given["options"] if "options" in given else given))):
        Encoder.load(NANO, backend="openai", url="http://localhost:1", **given)


def test_the_options_of_every_backend_are_public() -> None:
    given = [RemoteOptions(batch=7), ElasticsearchInferenceOptions(batch=7)]
    for backend, options in zip(("openai", "elasticsearch"), given, strict=True):
        with Encoder.load(NANO, backend=backend, url="http://localhost:1", options=options) as encoder:
            assert vars(encoder.backend)["options"] == options
    assert (OnnxOptions().threads, TorchOptions().device) == (1, "cpu")
    assert plain(LexicalOptions()) == plain(StaticOptions()) == {}
