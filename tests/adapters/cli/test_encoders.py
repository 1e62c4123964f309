"""Which encoder is meant: each flag, else what the index remembers, else the default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jinavec import Contract, EncoderSettings, Task
from jinavec.errors import ContractMismatch
from jinavec.models import find_model
from jinavec_adapters.cli.encoders import Existing, choose_settings
from jinavec_adapters.cli.flags import EncoderFlags

NANO = find_model("jina-embeddings-v5-text-nano")
REMEMBERED = EncoderSettings(
    profile=NANO,
    task=Task.CLUSTERING,
    dimension=256,
    backend="onnx",
    source="weights/nano",
    revision="abc",
    overflow="error",
    url="http://here",
    served_as="nano",
    options={"threads": 2, "quantized": ""},
)
EXISTING = Existing(Contract.of(NANO, Task.CLUSTERING, 256), REMEMBERED)


def test_without_flags_the_index_decides() -> None:
    assert choose_settings(EncoderFlags(), EXISTING) == REMEMBERED


def test_without_an_index_the_defaults_do() -> None:
    settings = choose_settings(EncoderFlags())
    assert settings == EncoderSettings(
        profile=find_model("lexical"), task=Task.RETRIEVAL, dimension=768, backend="lexical"
    )


@pytest.mark.parametrize(
    "flags, changed",
    [
        ({"url": "http://there"}, {"url": "http://there"}),
        ({"url": ""}, {"url": ""}),
        ({"source": "elsewhere"}, {"source": "elsewhere"}),
        ({"revision": "def"}, {"revision": "def"}),
        ({"overflow": "truncate"}, {"overflow": "truncate"}),
        ({"served_as": "other"}, {"served_as": "other"}),
        ({"backend_option": ["threads=4"]}, {"options": {"threads": 4, "quantized": ""}}),
        ({"model": "jinaai/jina-embeddings-v5-text-nano"}, {}),
        ({"backend": "onnx"}, {}),
        ({"backend": "torch"}, {"backend": "torch", "url": "", "served_as": "", "options": {}}),
        ({"task": "clustering", "dimension": 256}, {}),
    ],
)
def test_a_flag_overrides_what_it_names(flags: dict[str, Any], changed: dict[str, Any]) -> None:
    assert choose_settings(EncoderFlags(**flags), EXISTING) == replace(REMEMBERED, **changed)


def test_another_model_of_the_same_vectors_brings_its_own_weights() -> None:
    settings = choose_settings(EncoderFlags(model="jina-embeddings-v5-text-nano-clustering"), EXISTING)
    assert (settings.profile.name, settings.source, settings.revision) == (f"{NANO.name}-clustering", "", "")
    assert (settings.task, settings.dimension) == (Task.CLUSTERING, 256)


def test_an_index_that_remembers_only_its_contract() -> None:
    settings = choose_settings(EncoderFlags(), Existing(EXISTING.contract, None))
    assert (settings.profile, settings.task, settings.dimension) == (NANO, Task.CLUSTERING, 256)


@pytest.mark.parametrize(
    "flags",
    [{"model": "jina-embeddings-v5-text-small"}, {"task": "retrieval"}, {"dimension": 128}, {"model": "lexical"}],
)
def test_vectors_of_another_contract_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(ContractMismatch):
        choose_settings(EncoderFlags(**flags), EXISTING)
