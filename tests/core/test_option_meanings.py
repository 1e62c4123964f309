"""Options say what they mean where people look: in help(), and in what the command line prints."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest

import jinavec
from jinavec import plugins
from jinavec.encoder import BACKENDS
from jinavec.options import meanings
from jinavec.targets import ENGINES

MODULES = ["jinavec", "jinavec.backends", *(f"jinavec_integrations.{name}" for name in ENGINES)]
NAMED = {"ModelProfile", "EncoderSettings", "Contract", "InferenceSetup"}


def kinds() -> list[type]:
    exported = {
        value
        for module in map(importlib.import_module, MODULES)
        for name, value in vars(module).items()
        if name.endswith("Options") or name in NAMED
    }
    used = {plugins.find(plugins.BACKENDS, name, BACKENDS).options_type for name in BACKENDS}
    used |= {plugins.find(plugins.ENGINES, name, ENGINES).options_type for name in ENGINES}
    return sorted(exported | used, key=lambda kind: (kind.__module__, kind.__name__))


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_each_field_has_a_meaning_that_help_shows(kind: type) -> None:
    shown = inspect.getdoc(kind) or ""
    names = [field.name for field in dataclasses.fields(kind)]
    assert set(meanings(kind)) == set(names)
    for name, meaning in meanings(kind).items():
        assert len(meaning.split()) > 1
        assert f"\n    {name}: {meaning[:20]}" in shown


def test_every_exported_kind_is_looked_at() -> None:
    names = {kind.__name__ for kind in kinds()}
    assert names > NAMED
    assert names > {"FaissOptions", "QdrantOptions", "ElasticsearchOptions", "RemoteOptions", "OllamaOptions"}
    assert names > {"OnnxOptions", "TorchOptions", "ElasticsearchInferenceOptions"}
    assert set(jinavec.__all__) >= NAMED - {"InferenceSetup"}
