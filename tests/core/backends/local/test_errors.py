"""What a library raises is a ModelError; a bug of ours leaves with its own type, whatever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import Kind, tiny_profile

from jinavec import Encoder
from jinavec.backends.local.export import export_onnx
from jinavec.errors import ModelError


class Planted(TypeError):
    """The bug."""


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a bug in place of one of our functions."""

    def bug(*_: object, **__: object) -> None:
        raise Planted

    return lambda function: monkeypatch.setattr(f"jinavec.backends.local.{function}", bug)


def load_graph(tmp_path: Path) -> Encoder:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    folder = TinyGraph("nano").save(tmp_path, outputs=("last_hidden_state",))
    return Encoder.load(tiny_profile("nano"), backend="onnx", source=folder)


@pytest.mark.parametrize("function", ["onnx.pool", "onnx._input", "base.plan", "tokenizer.Tokenizer.batch"])
def test_a_bug_where_a_graph_is_run(plant: Callable[[str], None], tmp_path: Path, function: str) -> None:
    encoder = load_graph(tmp_path)
    plant(function)
    with pytest.raises(Planted):
        encoder.encode_documents(["a cat"])


@pytest.mark.parametrize("function", ["pooling._check_pooling", "onnx.check_modules", "onnx._check_notes"])
def test_a_bug_where_a_graph_is_loaded(plant: Callable[[str], None], tmp_path: Path, function: str) -> None:
    load_graph(tmp_path)
    module = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
    (tmp_path / "modules.json").write_text(json.dumps([module]), "utf-8")
    plant(function)
    with pytest.raises(Planted):
        Encoder.load(tiny_profile("nano"), backend="onnx", source=tmp_path)


@pytest.mark.parametrize("function", ["static.Table.total", "static.StaticBackend._fill_blank"])
def test_a_bug_where_token_vectors_are_added(plant: Callable[[str], None], function: str) -> None:
    pytest.importorskip("wordllama")
    encoder = Encoder.load("wordllama-256", backend="static")
    plant(function)
    with pytest.raises(Planted):
        encoder.encode_documents(["a cat"])


@pytest.mark.torch
@pytest.mark.parametrize("function", ["torch.pool", "torch.TorchBackend._twin"])
def test_a_bug_where_torch_runs(
    plant: Callable[[str], None], families: Callable[[Kind], TinyFamily], function: str
) -> None:
    encoder = Encoder.load(tiny_profile("nano"), backend="torch", source=families("nano").base)
    plant(function)
    with pytest.raises(Planted):
        encoder.encode_documents(["a cat"])


@pytest.mark.torch
@pytest.mark.parametrize("function", ["export._trace", "export._verify", "transformer._is_v5"])
def test_a_bug_where_a_model_is_exported(
    plant: Callable[[str], None], families: Callable[[Kind], TinyFamily], tmp_path: Path, function: str
) -> None:
    source = str(families("nano").base)
    plant(function)
    with pytest.raises(Planted):
        export_onnx(tiny_profile("nano"), out=tmp_path / "out", source=source)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ("{", "modules.json"),
        ("{}", "no list of modules"),
        ('["Pooling"]', "without type and path"),
        ('[{"type": 1, "path": ""}]', "without type and path"),
        ('[{"type": "Pooling", "path": "odd"}]', "no JSON object"),
    ],
)
def test_modules_that_cannot_be_read(tmp_path: Path, modules: str, words: str) -> None:
    load_graph(tmp_path)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("[]", "utf-8")
    (tmp_path / "modules.json").write_text(modules, "utf-8")
    with pytest.raises(ModelError, match=words):
        Encoder.load(tiny_profile("nano"), backend="onnx", source=tmp_path)
