"""What every encoder promises, whoever computes the vectors, over all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
from tests.support.scripted_server import ScriptedServer
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import Kind, tiny_profile

from jinavec import Encoder
from jinavec.testing import BackendSuite

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft and transformers

Load = Callable[..., Encoder]
REMOTE = ("cohere", "elasticsearch", "jina", "ollama", "openai", "tei")
_TORCH = [pytest.param(name, marks=pytest.mark.torch) for name in ("torch-base-small", "torch-merged-nano")]


@pytest.fixture(scope="module", params=["lexical", "static", "onnx-small", "onnx-nano", *REMOTE, *_TORCH])
def load(
    request: pytest.FixtureRequest,
    families: Callable[[Kind], TinyFamily],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Load]:
    if request.param in REMOTE:
        pytest.importorskip("elasticsearch" if request.param == "elasticsearch" else "httpx2")
        with ScriptedServer(request.param) as server:
            yield _loader(
                "jina-embeddings-v5-text-nano", backend=request.param, url=server.url, options={"verify": False}
            )
    else:
        yield _load_local(request.param, families, tmp_path_factory)


class TestBackends(BackendSuite):
    remote = REMOTE


def _load_local(name: str, families: Callable[[Kind], TinyFamily], tmp_path_factory: pytest.TempPathFactory) -> Load:
    backend, _, given = name.rpartition("-")
    kind = cast("Kind", given)
    match backend:
        case "":
            return _loader({"lexical": "lexical", "static": "wordllama-256"}[given], backend=given)
        case "onnx":
            pytest.importorskip("onnxruntime")
            pytest.importorskip("onnx")
            folder = TinyGraph(kind).save(tmp_path_factory.mktemp("graph"))
            return _loader(tiny_profile(kind), backend="onnx", source=str(folder))
        case "torch-base":
            return _loader(tiny_profile(kind), backend="torch", source=str(families(kind).base))
        case _:
            return _loader(tiny_profile(kind), backend="torch", source=str(families(kind).merged("retrieval")))


def _loader(model: Any, **fixed: Any) -> Load:
    if fixed["backend"] == "static":
        pytest.importorskip("wordllama")
    return partial(Encoder.load, model, **fixed)
