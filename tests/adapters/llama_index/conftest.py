from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_index.core
import pytest

from jinavec import ModelProfile
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.tasks import V5_PROMPTS
from jinavec_adapters.llama_index import BinaryVectorStore, JinaV5Embedding


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but to this machine: LlamaIndex must not look for tokenizers, models or data."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", f"a test tried to connect to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session", autouse=True)
def sentence_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy LlamaIndex's data for splitting sentences: nltk refuses hard links, which is how uv installs files."""
    (package,) = llama_index.core.__path__
    copy = shutil.copytree(Path(package, "_static", "nltk_cache"), tmp_path_factory.mktemp("llama") / "nltk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLTK_DATA", str(copy))
        yield


@pytest.fixture
def prompted() -> ModelProfile:
    """The lexical model with the prefixes of jina-embeddings-v5, so that roles differ."""
    return ModelProfile(
        name="prompted", width=768, dimensions=(64, 256, 768), prompts=V5_PROMPTS, backend="lexical", limit=None
    )


@pytest.fixture
def model(prompted: ModelProfile) -> JinaV5Embedding:
    return JinaV5Embedding(prompted, dimension=256)


@pytest.fixture
def open_store(tmp_path: Path, model: JinaV5Embedding) -> Callable[[], BinaryVectorStore]:
    """Open the same store again and again."""
    return lambda: BinaryVectorStore(tmp_path / "index", embed_model=model)


@pytest.fixture
def store(open_store: Callable[[], BinaryVectorStore]) -> BinaryVectorStore:
    return open_store()


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that reaches the backend."""
    seen: list[str] = []
    embed = LexicalBackend.embed

    def note(self: LexicalBackend, texts: Any, **kwargs: Any) -> Any:
        seen.extend(texts)
        return embed(self, texts, **kwargs)

    monkeypatch.setattr(LexicalBackend, "embed", note)
    return seen
