"""One truth: every adapter gives the vectors of the core, in both roles; a new one joins by a row in ADAPTERS.

An adapter whose framework is not installed is skipped.
"""

from __future__ import annotations

import asyncio
import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from tests.support.model_checks import cosines
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_tokenizers import tiny_profile
from tests.support.two_roles import TWO_ROLES

from jinavec import Encoder, JinavecWarning, ModelProfile
from jinavec.vectors import Float32

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when haystack is imported
pytestmark = pytest.mark.filterwarnings("ignore::jinavec.JinavecWarning")  # some texts are empty, some very long

Load = Mapping[str, Any]
"""Arguments of ``Encoder.load``, the model among them."""


@dataclass
class Adapter:
    """How texts become vectors through an adapter: rows (n, dimension) as documents, and as queries."""

    documents: Callable[[list[str]], ArrayLike]
    queries: Callable[[list[str]], ArrayLike]


def langchain(load: Load) -> Adapter:
    from jinavec_adapters.langchain import JinaV5Embeddings

    embeddings = JinaV5Embeddings(**load)
    return Adapter(embeddings.embed_documents, lambda texts: [embeddings.embed_query(text) for text in texts])


def haystack(load: Load) -> Adapter:
    from haystack import Document

    from jinavec_adapters.haystack import JinaV5DocumentEmbedder, JinaV5TextEmbedder

    document, text = JinaV5DocumentEmbedder(**load), JinaV5TextEmbedder(**load)
    return Adapter(
        lambda texts: [d.embedding for d in document.run([Document(content=text) for text in texts])["documents"]],
        lambda texts: [text.run(given)["embedding"] for given in texts],
    )


def chroma(load: Load) -> Adapter:
    from jinavec_adapters.chroma import JinaV5EmbeddingFunction

    function = JinaV5EmbeddingFunction(**load)
    return Adapter(lambda texts: np.stack(function(texts)), lambda texts: np.stack(function.embed_query(texts)))


def lancedb(load: Load) -> Adapter:
    from jinavec_adapters.lancedb import JinaV5EmbeddingFunction

    model = load["model"]
    plain = model.to_json() if isinstance(model, ModelProfile) else model
    function: Any = JinaV5EmbeddingFunction.create(**{**load, "model": plain})  # pyright: ignore[reportUnknownMemberType]
    return Adapter(function.compute_source_embeddings, function.compute_query_embeddings)


def llama_index(load: Load) -> Adapter:
    from jinavec_adapters.llama_index import JinaV5Embedding

    model = JinaV5Embedding(load["model"], **{name: value for name, value in load.items() if name != "model"})
    return Adapter(model.get_text_embedding_batch, lambda texts: [model.get_query_embedding(text) for text in texts])


def elastic(load: Load) -> Adapter:
    from jinavec_adapters.elastic import JinaEmbeddingService

    service = JinaEmbeddingService(**load)
    return Adapter(service.embed_documents, lambda texts: [service.embed_query(text) for text in texts])


def qdrant(load: Load) -> Adapter:
    from jinavec_adapters.qdrant import AsyncEmbeddingProvider

    provider = AsyncEmbeddingProvider(Encoder.load(**load))

    async def queries(texts: list[str]) -> list[list[float]]:
        return [await provider.embed_query(text) for text in texts]

    return Adapter(
        lambda texts: asyncio.run(provider.embed_documents(texts)), lambda texts: asyncio.run(queries(texts))
    )


ADAPTERS: Mapping[str, tuple[str, Callable[[Load], Adapter]]] = {
    "chroma": ("chromadb", chroma),
    "elastic": ("elasticsearch", elastic),
    "haystack": ("haystack", haystack),
    "lancedb": ("lancedb", lancedb),
    "langchain": ("langchain_core", langchain),
    "llama_index": ("llama_index.core", llama_index),
    "qdrant": ("qdrant_client", qdrant),
}
"""The library an adapter needs, and how to load it."""

SCRIPTS = (
    "The cat sleeps on the stove; naïve façade, Straße, İstanbul.",
    "Ο γάτος κοιμάται στη σόμπα.",
    "Кошка спит на печи; ёж, її, ґрунт.",
    "Կատուն քնած է։",
    "კატას სძინავს.",
    "החתול ישן על התנור.",
    "القطة نائمة على الموقد ١٢٣",
    "گربه می‌خوابد",
    "ድመቷ ተኝታለች።",
    "बिल्ली सो रही है।",
    "বিড়াল ঘুমাচ্ছে।",
    "பூனை தூங்குகிறது.",
    "పిల్లి నిద్రపోతోంది.",
    "แมวนอนบนเตา",
    "ແມວນອນ",
    "ကြောင်အိပ်နေသည်။",
    "ឆ្មាដេក",
    "བྱི་ལ་ཉལ་འདུག",
    "猫睡在炉子上。",
    "ネコがストーブの上で眠る。",
    "고양이가 난로 위에서 잔다.",
    "\U00020000\U0001f202 𝔣𝔯𝔞𝔨𝔱𝔲𝔯 ᚠᚢᚦ 𓂀",
)
EMOJI = ("🐈", "👩‍👩‍👧‍👦 family", "🇩🇪🇯🇵", "👍🏽 ok 👍", "☃︎ ☃️")
ODD = (
    *("", " ", "\n\t ", "\u200b", "\ufeffmark", "a\0b", "e\u0301 é", "\u202eright to left", "x\r\ny\u2028z"),
    *("Query: where is the cat?", "Document: the cat", "Query: Document: both", "query: small", " Query: space"),
    *("Query:", "Document: ", "<s>", "[CLS] [SEP] <|endoftext|>", "%s {0} {name} \\n", "NaN", "0", "-1e308"),
)


def two_hundred() -> list[str]:
    """All scripts, emoji, empty and very long texts, and texts that begin with a prefix; some of them twice."""
    choose = random.Random(6)
    words = " ".join(SCRIPTS).split()
    texts = [*SCRIPTS, *EMOJI, *ODD, *SCRIPTS[:5], *ODD[:5]]
    texts += [" ".join(choose.choices(words, k=length)) for length in (500, 5000)]
    texts.append("x" * 20_000)
    while len(texts) < 200:
        texts.append(" ".join(choose.choices(words, k=choose.randint(1, 40))))
    choose.shuffle(texts)
    return texts


TEXTS = two_hundred()
EXACT: Mapping[str, Load] = {
    "lexical": {"model": "lexical", "dimension": 128},
    "two-roles": {"model": TWO_ROLES, "task": "retrieval"},
    "one-role": {"model": TWO_ROLES, "task": "clustering", "dimension": 128},
}
"""Models whose vectors depend on nothing but the text, to the last bit."""


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Callable[[Load], Adapter]:
    module, load = ADAPTERS[request.param]
    pytest.importorskip(module, reason=f"needs {module}")
    return load


def embed(load: Load) -> tuple[Float32, Float32]:
    """Return what the core makes of the texts as documents, and as queries."""
    with Encoder.load(**load) as encoder:
        return encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)


@cache
def exact(model: str) -> tuple[Float32, Float32]:
    return embed(EXACT[model])


def rows(embedded: Callable[[list[str]], ArrayLike], texts: Sequence[str] = TEXTS) -> Float32:
    return np.asarray(embedded(list(texts)), np.float32)


@pytest.mark.parametrize("model", EXACT)
def test_vectors_are_those_of_the_core_to_the_last_bit(model: str, adapter: Callable[[Load], Adapter]) -> None:
    documents, queries = exact(model)
    through = adapter(EXACT[model])
    assert np.array_equal(rows(through.documents), documents)
    assert np.array_equal(rows(through.queries), queries)
    assert bool((documents != queries).any(axis=1).all()) == (model == "two-roles")


@dataclass
class Onnx:
    """A tiny model, and what the core makes of the texts with it."""

    load: Load
    documents: Float32
    queries: Float32


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Onnx:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    folder = TinyGraph("nano").save(tmp_path_factory.mktemp("graph"))
    load = {"model": tiny_profile("nano"), "backend": "onnx", "source": str(folder), "task": "retrieval"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JinavecWarning)
        return Onnx(load, *embed(load))


def test_onnx_vectors_are_those_of_the_core(onnx: Onnx, adapter: Callable[[Load], Adapter]) -> None:
    """Batches may differ, so only the directions are compared."""
    through = adapter(onnx.load)
    assert cosines(rows(through.documents), onnx.documents).min() >= 1 - 1e-6
    assert cosines(rows(through.queries), onnx.queries).min() >= 1 - 1e-6
    assert cosines(onnx.documents, onnx.queries).max() < 1 - 1e-5
