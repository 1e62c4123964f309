from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import MetadataMode, TextNode
from pydantic import ValidationError
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_tokenizers import tiny_profile

from jinavec import Encoder, ModelProfile, Role
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.errors import InvalidDimension, InvalidInput, UnknownModel, UnknownTask
from jinavec_adapters.llama_index import JinaV5Embedding

SCRIPTS = (
    "The cat sleeps on the stove",
    "Η γάτα κοιμάται στη σόμπα",
    "Кошка спит на печи",
    "القطة تنام على الموقد",
    "החתול ישן על הכיריים",
    "猫がストーブの上で眠る",
    "猫在炉子上睡觉",
    "고양이가 난로 위에서 잔다",
    "แมวนอนบนเตา",
    "बिल्ली चूल्हे पर सोती है",
    "பூனை அடுப்பில் தூங்குகிறது",
    "ድመቷ በምድጃው ላይ ትተኛለች",
    "კატა ღუმელზე სძინავს",
    "😺🔥 👩‍👩‍👧‍👦 🏳️‍🌈",
    "Query: The cat sleeps on the stove",
    "Document: The cat sleeps on the stove",
    "line one\nline two\r\n\ttab  and  spaces ",
    "e\u0301 is not \u00e9 to a computer",
)
ODD = ["", " ", "very long " * 2000, "Query: ", "Document: ", "query: cat", "\u200d", "0"]
TEXTS = [f"{text} {n}" for n in range(11) for text in SCRIPTS] + ODD

quiet = pytest.mark.filterwarnings("ignore:.*hold nothing to embed:jinavec.JinavecWarning")


class Events(BaseCallbackHandler):
    """Keeps the payloads of LlamaIndex's embedding events."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.started: list[Any] = []
        self.ended: list[Any] = []

    def on_event_start(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", *args: Any, **kw: Any
    ) -> str:
        self.started.append(payload)
        return event_id

    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        self.ended.append(payload)

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None: ...


def test_it_is_an_embedding_model_of_llama_index(model: JinaV5Embedding) -> None:
    assert isinstance(model, BaseEmbedding)
    assert model.class_name() == "JinaV5Embedding"


@quiet
@pytest.mark.parametrize("batch", [1, 7, 2048])
async def test_vectors_are_those_of_the_core_to_the_last_bit(prompted: ModelProfile, batch: int) -> None:
    assert len(TEXTS) >= 200
    encoder = Encoder.load(prompted, dimension=256)
    documents, queries = encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)
    model = JinaV5Embedding(prompted, dimension=256, embed_batch_size=batch)
    assert model.get_text_embedding_batch(TEXTS) == documents.tolist()
    assert await model.aget_text_embedding_batch(TEXTS) == documents.tolist()
    some = range(0, len(TEXTS), 5)
    assert [model.get_text_embedding(TEXTS[n]) for n in some] == documents[::5].tolist()
    assert [await model.aget_text_embedding(TEXTS[n]) for n in some] == documents[::5].tolist()
    assert [model.get_query_embedding(TEXTS[n]) for n in some] == queries[::5].tolist()
    assert [await model.aget_query_embedding(TEXTS[n]) for n in some] == queries[::5].tolist()


@quiet
def test_roles_differ_for_every_text_and_the_prefix_is_always_added(prompted: ModelProfile) -> None:
    model = JinaV5Embedding(prompted)
    bare = Encoder.load("lexical")
    for text in ["cat", "", "Query: cat", "Document: cat"]:
        query, document = model.get_query_embedding(text), model.get_text_embedding(text)
        assert query != document
        assert query == bare.encode_documents([f"Query: {text}"])[0].tolist()
        assert document == bare.encode_documents([f"Document: {text}"])[0].tolist()


def test_a_model_with_one_prefix_gives_both_roles_one_vector(prompted: ModelProfile) -> None:
    model = JinaV5Embedding(prompted, task="text-matching")
    assert model.get_query_embedding("cat") == model.get_text_embedding("cat")


def test_wordllama_gives_the_vectors_of_the_core() -> None:
    model = JinaV5Embedding(model_name="wordllama-256", task="retrieval", dimension=128)
    encoder = Encoder.load("wordllama-256", dimension=128)
    texts = [text for text in TEXTS[:60] if text.strip()]
    assert model.get_text_embedding_batch(texts) == encoder.encode_documents(texts).tolist()
    assert model.get_query_embedding("a cat") == encoder.encode_queries(["a cat"])[0].tolist()


def test_vectors_are_python_floats_of_unit_length(model: JinaV5Embedding) -> None:
    vector = model.get_query_embedding("cat")
    assert {type(x) for x in vector} == {float}
    assert len(vector) == model.dimension == 256
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


async def test_no_texts_give_no_vectors(model: JinaV5Embedding) -> None:
    assert model.get_text_embedding_batch([]) == []
    assert await model.aget_text_embedding_batch([]) == []


def test_nodes_are_embedded_with_their_metadata_behind_the_prefix(model: JinaV5Embedding) -> None:
    node = TextNode(text="Kittens drink milk.", metadata={"topic": "cats", "secret": "x"})
    node.excluded_embed_metadata_keys = ["secret"]
    (embedded,) = model([node])
    text = node.get_content(MetadataMode.EMBED)
    assert "topic: cats" in text
    assert "secret" not in text
    assert embedded.embedding == model.encoder.encode_documents([text])[0].tolist()


Call = Callable[[JinaV5Embedding], Any]
ASYNC_CALLS: dict[str, Call] = {
    "aget_query_embedding": lambda model: model.aget_query_embedding("a"),
    "aget_text_embedding": lambda model: model.aget_text_embedding("a"),
    "aget_text_embedding_batch": lambda model: model.aget_text_embedding_batch(["a", "b", "c"]),
    "aget_agg_embedding_from_queries": lambda model: model.aget_agg_embedding_from_queries(["a", "b"]),
    "acall": lambda model: model.acall([TextNode(text="a")]),
}


@pytest.mark.parametrize("name", ASYNC_CALLS)
async def test_the_event_loop_turns_while_texts_are_embedded(
    name: str, model: JinaV5Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend waits for the event loop: on a blocked one it would wait in vain."""
    begun, turned, embed = threading.Event(), threading.Event(), LexicalBackend.embed

    def patient(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert turned.wait(120), "the event loop stood still"
        return embed(*args, **kwargs)

    monkeypatch.setattr(LexicalBackend, "embed", patient)
    task, turns = asyncio.ensure_future(ASYNC_CALLS[name](model)), 0
    while turns < 100 and not task.done():
        turns += begun.is_set()
        await asyncio.sleep(0)
    turned.set()
    await task
    assert turns == 100


def test_batches_go_to_the_core_as_they_are(model: JinaV5Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    embed = LexicalBackend.embed

    def count(self: LexicalBackend, texts: Any, **kwargs: Any) -> Any:
        sizes.append(len(texts))
        return embed(self, texts, **kwargs)

    monkeypatch.setattr(LexicalBackend, "embed", count)
    model.get_text_embedding_batch([f"text {n}" for n in range(1300)])
    assert sizes == [512, 512, 276]


def test_defaults_are_filled_in_and_visible(prompted: ModelProfile) -> None:
    model = JinaV5Embedding(prompted)
    assert (model.model_name, model.task, model.dimension, model.backend) == ("prompted", "retrieval", 768, "lexical")
    assert model.contract == Encoder.load(prompted).contract
    assert JinaV5Embedding("lexical").model_name == "lexical"


SETTINGS: dict[str, Any] = {"task": "clustering", "dimension": 64, "overflow": "error", "embed_batch_size": 17}


def round_trips() -> dict[str, Callable[[JinaV5Embedding], JinaV5Embedding]]:
    return {
        "dict": lambda model: JinaV5Embedding.from_dict(model.to_dict()),
        "json": lambda model: JinaV5Embedding.from_json(model.to_json()),
        "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    }


@pytest.mark.parametrize("way", round_trips())
@pytest.mark.parametrize("name", ["lexical", "wordllama-256", "prompted"])
def test_round_trips_keep_everything(way: str, name: str, prompted: ModelProfile) -> None:
    model = JinaV5Embedding(prompted if name == "prompted" else name, **SETTINGS)
    back = round_trips()[way](model)
    assert {field: getattr(back, field) for field in SETTINGS} == SETTINGS
    assert back.to_dict() == model.to_dict()
    assert back.contract == model.contract
    assert back.get_query_embedding("a cat") == model.get_query_embedding("a cat")
    assert back.get_text_embedding("a cat") == model.get_text_embedding("a cat")


@pytest.fixture(params=["lexical", "wordllama-256", "onnx"])
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> JinaV5Embedding:
    """A model of each kind that runs in this process, and that has embedded something."""
    fields: dict[str, Any] = {"model_name": request.param, "dimension": 64}
    if request.param == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
        pytest.importorskip("onnx")
        folder = TinyGraph("nano").save(tmp_path)
        fields = {"model_name": tiny_profile("nano"), "backend": "onnx", "source": folder}
    model = JinaV5Embedding(**fields)
    model.get_text_embedding("a cat")
    return model


def is_loaded(model: JinaV5Embedding) -> bool:
    return bool((model.__pydantic_private__ or {})["_encoder"])


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, JinaV5Embedding.model_copy])
def test_copies_are_equal_and_share_the_encoder(loaded: JinaV5Embedding, way: Any) -> None:
    again = way(loaded)
    assert again == loaded and again.encoder is loaded.encoder


async def test_what_was_pickled_is_equal_and_loads_when_it_is_needed(loaded: JinaV5Embedding) -> None:
    again = pickle.loads(pickle.dumps(loaded))
    assert again == loaded and not is_loaded(again)
    assert again.get_text_embedding("a cat") == loaded.get_text_embedding("a cat")
    assert is_loaded(again) and again.contract == loaded.contract
    twice = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(loaded))))
    assert await twice.aget_query_embedding("a cat") == loaded.get_query_embedding("a cat")


def test_equal_are_those_that_are_loaded_alike(model: JinaV5Embedding, prompted: ModelProfile) -> None:
    assert model == JinaV5Embedding(prompted, dimension=256)
    changes: list[dict[str, Any]] = [{"dimension": 64}, {"task": "clustering"}, {"overflow": "error"}]
    for change in changes:
        fields: dict[str, Any] = {"dimension": 256} | change
        assert model != JinaV5Embedding(prompted, **fields)
    assert model != "prompted"


def test_a_copy_cannot_claim_another_contract(model: JinaV5Embedding) -> None:
    for field in ("model_name", "profile", "task", "dimension", "backend", "url", "options"):
        with pytest.raises(InvalidInput, match=f"{field} of a loaded model"):
            model.model_copy(update={field: getattr(model, field)})
    assert model.model_copy(update={"embed_batch_size": 7}).embed_batch_size == 7


def test_a_saved_model_says_its_class(model: JinaV5Embedding) -> None:
    assert model.to_dict()["class_name"] == "JinaV5Embedding"


KEY = "sk-not-to-be-seen"
ADDRESS = f"http://user:{KEY}@127.0.0.1:9/v1"


class Served(LexicalBackend):
    """Stands for a backend that takes an address and a key."""

    given: tuple[str, str | None] = ("", None)

    @classmethod
    def load(cls, settings: Any, api_key: str | None) -> Served:
        cls.given = settings.url, api_key
        return cls(settings.profile.width)


def test_a_key_is_used_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jinavec.backends.local.lexical.LexicalBackend", Served)
    model = JinaV5Embedding("lexical", url=ADDRESS, api_key=KEY, served_as="v5")
    assert Served.given == (ADDRESS, KEY)
    shown = [repr(model), str(model), model.to_json(), str(model.to_dict()), str(model.to_payload()), str(vars(model))]
    assert not [text for text in [*shown, model.model_dump_json()] if KEY in text]
    assert KEY.encode() not in pickle.dumps(model)
    back = pickle.loads(pickle.dumps(model))
    assert (back.url, back.served_as) == ("http://127.0.0.1:9/v1", "v5")
    assert back.encoder
    assert Served.given == ("http://127.0.0.1:9/v1", None)


def test_a_key_is_refused_where_no_server_is() -> None:
    with pytest.raises(InvalidInput, match="api_key"):
        JinaV5Embedding("lexical", api_key=KEY)


CHANGES: dict[str, dict[str, Any]] = {
    "task": {"task": "clustering"},
    "dimension": {"dimension": 64},
    "overflow": {"overflow": "error"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_hash_of_the_ingestion_cache_changes_with_the_contract(
    prompted: ModelProfile, change: dict[str, Any]
) -> None:
    nodes = [TextNode(text="a")]
    before = get_transformation_hash(nodes, JinaV5Embedding(prompted))
    assert get_transformation_hash(nodes, JinaV5Embedding(prompted)) == before
    assert get_transformation_hash(nodes, JinaV5Embedding(prompted, **change)) != before


def test_the_hash_changes_with_the_prefixes_and_the_model(prompted: ModelProfile) -> None:
    values = prompted.to_json()
    other = {"retrieval": {"query": "Query: ", "document": "passage: "}}
    profiles = [values, values | {"prompts": other}, values | {"name": "mine"}]
    models = [JinaV5Embedding(ModelProfile.from_json(profile)) for profile in profiles]
    hashes = {get_transformation_hash([TextNode(text="a")], model) for model in models}
    assert len(hashes) == len({model.contract.digest for model in models}) == 3


def test_what_changes_vectors_cannot_be_changed_afterwards(model: JinaV5Embedding) -> None:
    for field in ("model_name", "task", "dimension", "backend", "profile", "embeddings_cache"):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, field, getattr(model, field))
    model.embed_batch_size = 8


def test_settings_take_it_and_indexes_use_it(model: JinaV5Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_embed_model", None)
    Settings.embed_model = model
    assert Settings.embed_model is model
    index = VectorStoreIndex([TextNode(text="The cat sleeps.", id_="a"), TextNode(text="Ships anchor.", id_="b")])
    (hit,) = index.as_retriever(similarity_top_k=1).retrieve("where does the cat sleep?")
    query = model.encoder.encode_queries(["where does the cat sleep?"])[0].astype(float)
    document = model.encoder.encode_documents(["The cat sleeps."])[0].astype(float)
    assert hit.node_id == "a"
    assert hit.score == pytest.approx(query @ document, abs=1e-6)


def test_events_carry_texts_and_no_more_than_the_payload(model: JinaV5Embedding) -> None:
    events = Events()
    model.callback_manager = CallbackManager([events])
    model.get_query_embedding("a cat")
    model.get_text_embedding_batch(["a", "b"])
    assert [payload[EventPayload.CHUNKS] for payload in events.ended] == [["a cat"], ["a", "b"]]
    named = events.started[0][EventPayload.SERIALIZED]
    assert (named["class_name"], named["task"], named["dimension"]) == ("JinaV5Embedding", "retrieval", 256)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model_name": "no-such-model"}, UnknownModel, "known: lexical"),
        ({"model_name": "lexical", "task": "separation"}, UnknownTask, "clustering"),
        ({"model_name": "lexical", "dimension": 100}, InvalidDimension, "64, 128"),
        ({"model_name": "lexical", "overflow": "ignore"}, InvalidInput, "truncate"),
        ({"model_name": "lexical", "dimensions": 64}, ValidationError, "dimensions"),
        ({"model_name": "lexical", "embed_batch_size": 0}, ValidationError, "embed_batch_size"),
        ({"model_name": "other", "profile": {"name": "mine", "width": 8, "backend": "lexical"}}, InvalidInput, "mine"),
    ],
)
def test_what_is_not_offered_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        JinaV5Embedding(**arguments)


def test_the_role_is_asked_of_the_backend_too(model: JinaV5Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    roles: list[Role] = []
    embed = LexicalBackend.embed

    def note(self: LexicalBackend, texts: Any, *, role: Role, **kwargs: Any) -> Any:
        roles.append(role)
        return embed(self, texts, role=role, **kwargs)

    monkeypatch.setattr(LexicalBackend, "embed", note)
    model.get_query_embedding("a")
    model.get_text_embedding("a")
    assert roles == [Role.QUERY, Role.DOCUMENT]
