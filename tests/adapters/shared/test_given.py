from __future__ import annotations

import pytest

from jinavec import Encoder
from jinavec.errors import InvalidInput
from jinavec_adapters.shared.given import given_encoder


def test_an_encoder_is_used_as_it_is() -> None:
    encoder = Encoder.load("lexical", dimension=64)
    assert given_encoder(encoder) is given_encoder(encoder, task=None) is encoder
    with pytest.raises(InvalidInput, match="dimension cannot be chosen again"):
        given_encoder(encoder, dimension=64)


def test_a_model_is_loaded() -> None:
    assert given_encoder("lexical", task="clustering").settings == Encoder.load("lexical", task="clustering").settings
    with pytest.raises(TypeError, match="'dimensions'"):
        given_encoder("lexical", dimensions=64)  # pyright: ignore[reportCallIssue]
