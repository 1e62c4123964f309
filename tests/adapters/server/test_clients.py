"""The public clients of each protocol, as users have them, on a live server."""

from __future__ import annotations

import gc
from collections.abc import Generator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Encoder, ModelProfile, Role, Task
from jinavec.wire import eis, qdrant
from jinavec.wire.messages import EmbedRequest

from .conftest import Server, running

TEXTS = [f"{n} cats sleep on the stove, 猫" for n in range(70)]
pytestmark = pytest.mark.filterwarnings("default")  # those of other people's libraries


@pytest.fixture(autouse=True)
def collect_clients() -> Generator[None]:
    """Let go of clients that close nothing themselves here, and not in a later test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def roles(profile: Path) -> Generator[Server]:
    """A server whose first model knows roles, behind a key."""
    with running(
        "--model", profile, "--task", "retrieval", "--task", "clustering", JINAVEC_SERVE_API_KEYS="k"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def encoder(profile: Path) -> Encoder:
    return Encoder.load(ModelProfile.from_toml(profile))


@pytest.mark.parametrize("role", ["query", "document"])
def test_openai(roles: Server, encoder: Encoder, role: str) -> None:
    import openai

    with openai.OpenAI(base_url=f"{roles.url}/{role}/v1", api_key="k", max_retries=0) as client:
        expected = encoder.encode(TEXTS, role=role)
        for how in ({}, {"encoding_format": "float"}):  # by itself the client asks for base64
            reply = client.embeddings.create(model="roles-retrieval", input=TEXTS, **how)  # pyright: ignore[reportArgumentType, reportCallIssue]
            assert (np.array([item.embedding for item in reply.data], np.float32) == expected).all()
        assert [model.id for model in client.models.list()] == ["roles"]
        with pytest.raises(openai.BadRequestError, match="offers: 64"):
            client.embeddings.create(model="roles-retrieval", input=TEXTS, dimensions=3)
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="gone", input=TEXTS)
    with openai.OpenAI(base_url=f"{roles.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.embeddings.create(model="roles", input=TEXTS)


@pytest.mark.parametrize("role", ["query", "document"])
def test_cohere(roles: Server, encoder: Encoder, role: str) -> None:
    import cohere

    client: Any = cohere.ClientV2(api_key="k", base_url=roles.url)
    reply = client.embed(
        model="roles", texts=TEXTS, input_type=f"search_{role}", embedding_types=["float"], output_dimension=256
    )
    expected = Encoder(encoder.profile, encoder.backend, dimension=256).encode(TEXTS, role=role)
    assert (np.array(reply.embeddings.float_, np.float32) == expected).all()
    with pytest.raises(cohere.NotFoundError):
        client.embed(model="gone", texts=TEXTS, input_type="search_query", embedding_types=["float"])


@pytest.mark.parametrize("role", ["query", "document"])
def test_huggingface_hub(roles: Server, encoder: Encoder, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import InferenceClient, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # else the client takes the loopback for the internet
    expected = encoder.encode(TEXTS[:1], role=role)
    for path, how in [("/embed", {"prompt_name": role}), (f"/{role}/embed", {"normalize": True})]:
        with InferenceClient(roles.url + path, token="k") as client:
            given: Any = client.feature_extraction(TEXTS[0], **how)  # pyright: ignore[reportArgumentType]
        assert (np.array(given, np.float32) == expected).all()


def test_langchain_openai(roles: Server, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    import openai
    import tiktoken
    from langchain_openai import OpenAIEmbeddings

    def embeddings(role: str, check: bool) -> Any:
        return OpenAIEmbeddings(
            model="roles-retrieval",
            base_url=f"{roles.url}/{role}/v1",
            api_key="k",  # pyright: ignore[reportArgumentType]
            check_embedding_ctx_length=check,
            max_retries=0,
        )

    documents = np.array(embeddings("document", False).embed_documents(TEXTS), np.float32)
    assert (documents == encoder.encode_documents(TEXTS)).all()
    query = np.array(embeddings("query", False).embed_query(TEXTS[0]), np.float32)
    assert (query == encoder.encode_queries(TEXTS[:1])[0]).all()

    def tokens_of(name: str) -> tiktoken.Encoding:  # the real ones are downloaded
        ranks = {bytes([n]): n for n in range(256)}
        return tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={})

    monkeypatch.setattr(tiktoken, "encoding_for_model", tokens_of)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        embeddings("document", True).embed_documents(TEXTS)


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize(
    "backend, task",
    [*product(["jina", "openai"], ["retrieval", "clustering"]), ("tei", "retrieval"), ("cohere", "retrieval")],
)
def test_our_own_remote_backends(roles: Server, profile: Path, backend: str, role: str, task: str) -> None:
    model = ModelProfile.from_toml(profile)
    served_as = "roles" if backend == "jina" or task == "retrieval" else f"roles-{task}"
    how: dict[str, Any] = {"url": roles.url, "api_key": "k", "served_as": served_as, "options": {"batch": 16}}
    with Encoder.load(model, task=task, dimension=256, backend=backend, **how) as remote:
        given = remote.encode(TEXTS, role=role)
    own = Encoder.load(model, task=task, dimension=256).encode(TEXTS, role=role)
    assert np.abs(given - own).max() < 1e-6  # cut here, of unit vectors


def test_the_embedding_service_of_elasticsearch_py(roles: Server, encoder: Encoder, profile: Path) -> None:
    from jinavec_adapters.elastic import JinaEmbeddingService

    how: dict[str, Any] = {"backend": "jina", "url": roles.url, "api_key": "k", "served_as": "roles"}
    service = JinaEmbeddingService(ModelProfile.from_toml(profile), **how)
    assert (np.array(service.embed_documents(TEXTS), np.float32) == encoder.encode_documents(TEXTS)).all()
    assert (np.array(service.embed_query(TEXTS[0]), np.float32) == encoder.encode_queries(TEXTS[:1])[0]).all()


@pytest.mark.parametrize("role", ["query", "document"])
def test_the_client_side_of_the_codecs_that_no_backend_speaks(roles: Server, encoder: Encoder, role: str) -> None:
    headers = {"Authorization": "Bearer k"}
    expected = encoder.encode(TEXTS, role=role)
    asked = EmbedRequest(texts=tuple(TEXTS), model="roles-retrieval", role=Role(role))
    reply = roles.post(eis.CODEC.server.path, eis.encode_request(asked), headers=headers)
    assert (eis.decode_reply(reply.content, asked).floats == expected).all()
    each = [EmbedRequest(texts=(text,), model="roles", role=Role(role), task=Task.RETRIEVAL) for text in TEXTS]
    reply = roles.post("/qdrant/inference", qdrant.encode_requests(each), headers=headers)
    vectors = [one.floats[0] for one in qdrant.decode_replies(reply.content, each)]
    assert (np.array(vectors) == expected).all()
