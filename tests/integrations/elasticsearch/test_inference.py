"""Inference set-up: golden requests, and a run against a scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jinavec import Contract
from jinavec.errors import ContractMismatch, EngineError, InvalidInput

pytest.importorskip("elasticsearch")
from tests.support.scripted_elasticsearch import Answer, Asked, Script, refusal, scripted

from jinavec_integrations.elasticsearch.connect import connect
from jinavec_integrations.elasticsearch.inference import PROBE, InferenceSetup
from jinavec_integrations.elasticsearch.setup import set_up_inference

SMALL = Contract.of("jina-embeddings-v5-text-small", dimension=256)
SYMMETRIC = Contract.of("jina-embeddings-v5-text-small", task="clustering", dimension=256)
CHUNKS = {"strategy": "sentence", "max_chunk_size": 250, "sentence_overlap": 1}
ELASTIC = {
    "service": "elastic",
    "service_settings": {"model_id": "jina-embeddings-v5-text-small", "dimensions": 256, "similarity": "cosine"},
    "chunking_settings": CHUNKS,
}


def wanted(**given: Any) -> dict[str, Any]:
    return {"name": "n", "contract": SMALL, **given}


def plain(setup: InferenceSetup, *methods: str) -> list[tuple[str, str, Any]]:
    requests = [(request.method, request.path, request.body) for request in setup.requests()]
    return [request for request in requests if not methods or request[0] in methods]


def settings(setup: InferenceSetup) -> dict[str, Any]:
    puts = plain(setup, "PUT")
    return {path.rpartition("/")[2]: body["service_settings"] for _, path, body in puts if "_inference/text" in path}


def test_the_hosted_service_needs_one_endpoint() -> None:
    assert plain(InferenceSetup(name="notes", contract=SMALL)) == [
        ("GET", "/_inference/text_embedding/notes", None),
        ("PUT", "/_inference/text_embedding/notes", ELASTIC),
        ("POST", "/_inference/text_embedding/notes", {"input": [PROBE], "input_type": "ingest"}),
        ("POST", "/_inference/text_embedding/notes", {"input": [PROBE], "input_type": "search"}),
    ]


def test_a_server_of_ones_own_is_connected_first() -> None:
    first = plain(InferenceSetup(name="notes", contract=SMALL, connect=True, api_key="k"))[:2]
    assert first == [("GET", "/_inference/_ccm", None), ("PUT", "/_inference/_ccm", {"api_key": "k"})]


def test_a_service_that_loses_the_role_gets_a_pair_with_the_task_in_the_request() -> None:
    url = "http://host:8080/v1/embeddings"
    setup = InferenceSetup(name="notes", contract=SMALL, service="custom", url=url, api_key="secret")
    made = settings(setup)
    for id, task in (("notes-passage", "retrieval.passage"), ("notes-query", "retrieval.query")):
        filled = json.loads(made[id].pop("request").replace("${input}", '["a", "b"]'))
        assert filled == {
            "input": ["a", "b"],
            "model": "jina-embeddings-v5-text-small",
            "task": task,
            "dimensions": 256,
            "normalized": True,
        }
        assert made.pop(id) == {
            "url": url,
            "secret_parameters": {"api_key": "secret"},
            "headers": {"Authorization": "Bearer ${api_key}", "Content-Type": "application/json"},
            "response": {"json_parser": {"text_embeddings": "$.data[*].embedding[*]", "embedding_type": "float"}},
            "dimensions": 256,
            "similarity": "cosine",
        }
    assert not made
    assert [body for _, _, body in plain(setup, "POST")] == [{"input": [PROBE]}] * 2


NAMED = {"model_id": "small", "api_key": "k", "similarity": "cosine"}


@pytest.mark.parametrize(
    ("service", "url", "made"),
    [
        (
            "openai",
            "http://h/{role}/v1/embeddings",
            {
                f"n-{side}": {**NAMED, "url": f"http://h/{role}/v1/embeddings", "dimensions": 1024}
                for side, role in (("passage", "document"), ("query", "query"))
            },
        ),
        (
            "hugging_face",
            "http://h/{role}/embed",
            {
                f"n-{side}": {"url": f"http://h/{role}/embed", "api_key": "k", "similarity": "cosine"}
                for side, role in (("passage", "document"), ("query", "query"))
            },
        ),
        ("cohere", "http://h/v2/embed", {"n": {**NAMED, "url": "http://h/v2/embed"}}),
        ("nvidia", "http://h/v1/embeddings", {"n": {**NAMED, "url": "http://h/v1/embeddings"}}),
        ("jinaai", "", {"n": {**NAMED, "dimensions": 1024}}),
        ("jinaai", "http://h/v1/embeddings", {"n": {**NAMED, "dimensions": 1024, "url": "http://h/v1/embeddings"}}),
    ],
)
def test_what_each_service_is_told(service: Any, url: str, made: dict[str, Any]) -> None:
    full = Contract.of("jina-embeddings-v5-text-small")
    setup = InferenceSetup(name="n", contract=full, service=service, url=url, served_as="small", api_key="k")
    assert settings(setup) == made
    roles = [body.get("input_type") for _, _, body in plain(setup, "POST")]
    assert roles == (["ingest", "search"] if len(made) == 1 else [None, None])


def test_a_name_may_stand_for_the_role_where_the_address_cannot() -> None:
    setup = InferenceSetup(**wanted(service="openai", url="http://h/v1/embeddings", served_as="small-{role}"))
    assert [made["model_id"] for made in settings(setup).values()] == ["small-document", "small-query"]


def test_where_the_task_has_one_prefix_one_endpoint_serves_both() -> None:
    for service, url, name in (("custom", "http://h", ""), ("openai", "http://h", "x"), ("elastic", "", "x")):
        setup = InferenceSetup(**wanted(contract=SYMMETRIC, service=service, url=url, served_as=name))
        assert list(settings(setup)) == ["n"]
    custom = InferenceSetup(**wanted(contract=SYMMETRIC, service="custom", url="http://h"))
    assert '"task": "clustering"' in settings(custom)["n"]["request"]


def test_index_and_pipeline() -> None:
    setup = InferenceSetup(name="n", contract=SMALL, service="custom", url="http://h", index="notes", pipeline="p")
    puts = {path: body for _, path, body in plain(setup, "PUT")}
    options = {"type": "bbq_hnsw", "m": 16, "ef_construction": 100}
    assert puts["/notes"]["mappings"] == {
        "_meta": {"jinavec_contract": SMALL.sealed()},
        "properties": {
            "content": {
                "type": "semantic_text",
                "inference_id": "n-passage",
                "search_inference_id": "n-query",
                "index_options": {"dense_vector": options},
            },
            "content_embedding": {
                "type": "dense_vector",
                "dims": 256,
                "element_type": "float",
                "index": True,
                "similarity": "cosine",
                "index_options": {**options, "rescore_vector": {"oversample": 10.0}},
            },
        },
    }
    assert puts["/_ingest/pipeline/p"]["processors"] == [
        {"remove": {"field": "content_embedding", "ignore_missing": True}},
        {
            "inference": {
                "model_id": "n-passage",
                "input_output": [{"input_field": "content", "output_field": "content_embedding"}],
                "ignore_missing": True,
            }
        },
    ]


def test_the_key_is_shown_nowhere() -> None:
    setup = InferenceSetup(name="n", contract=SMALL, service="custom", url="http://h", api_key="hush-hush")
    connected = InferenceSetup(name="n", contract=SMALL, connect=True, api_key="hush-hush")
    shown = f"{setup!r} {connected!r}" + "".join(map(str, setup.requests() + connected.requests()))
    assert "hush-hush" not in shown
    assert "hush-hush" in str(plain(setup))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"service": "elastic", "url": "http://h"}, "takes no url"),
        ({"contract": SYMMETRIC}, "served_as"),
        ({"contract": SYMMETRIC, "service": "cohere", "url": "http://h"}, "retrieval only.*take custom"),
        ({"service": "custom"}, "needs the url"),
        ({"service": "openai", "url": "http://h"}, r"loses the role.*\{role\}"),
        ({"service": "hugging_face", "url": "http://h"}, r"loses the role.*\{role\}"),
        ({"service": "hugging_face", "url": "http://h/{role}"}, "256 of 1024 dimensions; take custom"),
        ({"service": "custom", "url": "http://h/{role}"}, "by itself"),
        ({"service": "cohere", "url": "http://h", "served_as": "{role}"}, "model's name"),
        ({"service": "jinaai"}, "JINAVEC_API_KEY"),
        ({"service": "custom", "url": "https://me:hunter2@h/v1"}, "no user name"),
        ({"index": "No Index"}, "No Index"),
        ({"pipeline": "a/b"}, "pipeline"),
        ({"text_field": ""}, "field"),
        ({"service": "nobody"}, "known: elastic"),
        ({"name": "No Name"}, "lower-case"),
        ({"name": ""}, "lower-case"),
        ({"connect": True}, "JINAVEC_API_KEY"),
        ({"service": "custom", "url": "http://h", "connect": True, "api_key": "k"}, "belongs to service elastic"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        InferenceSetup(**wanted(**change))


def shown(endpoint: dict[str, Any]) -> dict[str, Any]:
    """An endpoint as the server shows it: without secrets, with settings of its own."""
    settings = {**endpoint["service_settings"], "rate_limit": {"requests_per_minute": 3000}}
    for secret in ("api_key", "secret_parameters"):
        settings.pop(secret, None)
    return {"inference_id": "n", "task_type": "text_embedding", **endpoint, "service_settings": settings}


def inference(embed: Callable[[str, dict[str, Any]], list[float]]) -> dict[Any, Any]:
    """Answers of a server that keeps endpoints, indices and pipelines."""
    kept: dict[str, Any] = {}

    def put(asked: Asked) -> Answer:
        kept[asked.path] = json.loads(asked.body)
        return 200, {"acknowledged": True}

    def get(asked: Asked) -> Answer:
        path = asked.path.removesuffix("/_mapping")
        if path == "/_inference/_ccm" and path not in kept:
            return 200, {"enabled": False}
        if path not in kept:
            return refusal(404, "resource_not_found_exception", "not found")
        if path == "/_inference/_ccm":
            return 200, {"enabled": True}
        return 200, {"endpoints": [shown(kept[path])]} if "_inference" in path else {
            path.rpartition("/")[2]: kept[path]
        }

    def post(asked: Asked) -> Answer:
        return 200, {"text_embedding": [{"embedding": embed(asked.path, json.loads(asked.body))}]}

    paths = [f"/_inference/text_embedding/n{side}" for side in ("", "-passage", "-query")]
    answers: dict[Any, Any] = {
        ("PUT", path): put for path in (*paths, "/notes", "/_ingest/pipeline/p", "/_inference/_ccm")
    }
    return (
        answers
        | {("GET", path): get for path in (*paths, "/notes/_mapping", "/_ingest/pipeline/p", "/_inference/_ccm")}
        | {("POST", path): post for path in paths}
    )


def by_role(path: str, body: dict[str, Any]) -> list[float]:
    query = body.get("input_type") == "search" or path.endswith("query")
    return [1.0, float(query), *[0.0] * 254]


def run(script: Script, **given: Any) -> list[str]:
    said: list[str] = []
    with connect(script.url) as client:
        set_up_inference(client, InferenceSetup(**wanted(**given)), said.append)
    return said


CUSTOM = {"service": "custom", "url": "http://h"}
ROLELESS = {"service": "openai", "url": "http://h/{role}/v1/embeddings"}


@pytest.mark.parametrize("given", [{"connect": True, "api_key": "k"}, CUSTOM, ROLELESS])
def test_what_is_sent_is_what_was_shown_and_the_second_time_nothing_changes(given: dict[str, Any]) -> None:
    everything = {"index": "notes", "pipeline": "p", **given}
    with scripted(answers=inference(by_role)) as script:
        first = run(script, **everything)
        assert script.paths() == [
            f"{method} {path}" for method, path, _ in plain(InferenceSetup(**wanted(**everything)))
        ]
        assert [line.startswith("created") for line in first] == [True] * (len(first) - 1) + [False]
        assert "cosine of passage and query 0.7071" in first[-1]
        script.asked.clear()
        second = run(script, **everything)
        assert not any("created" in line for line in second)
        assert not any(path.startswith("PUT") for path in script.paths())


@pytest.mark.parametrize(
    ("earlier", "later", "match"),
    [
        ({}, {"contract": Contract.of("jina-embeddings-v5-text-small", dimension=512)},
         "endpoint n already exists with different settings.*dimensions: has 256, wanted 512"
         ".*DELETE /_inference/text_embedding/n"),
        ({}, {"served_as": "another"}, "model_id"),
        (ROLELESS, {**ROLELESS, "url": "http://g/{role}/v1/embeddings"}, "n-passage already exists.*http://g/document"),
        (CUSTOM, {**CUSTOM, "served_as": "x"}, "request"),
        ({"index": "notes"}, {**CUSTOM, "index": "notes"},
         "index notes already exists.*content.inference_id: has 'n', wanted 'n-passage'"),
        ({"pipeline": "p"}, {"pipeline": "p", "text_field": "body"}, "pipeline p already exists.*DELETE /_ingest"),
    ],
)  # fmt: skip
def test_something_else_under_the_name_is_left_alone(
    earlier: dict[str, Any], later: dict[str, Any], match: str
) -> None:
    with scripted(answers=inference(by_role)) as script:
        run(script, **earlier)
        with pytest.raises(EngineError, match=match):
            run(script, **later)


def test_an_index_of_another_contract_is_refused_as_everywhere() -> None:
    other = Contract.of("jina-embeddings-v5-text-nano", dimension=256)
    with scripted(answers=inference(by_role)) as script:
        run(script, index="notes")
        del script.answers["GET", "/_inference/text_embedding/n"]
        with pytest.raises(ContractMismatch, match="text-nano"):
            run(script, index="notes", contract=other)


def test_the_probes_find_a_lost_role_and_a_wrong_dimension() -> None:
    with (
        scripted(answers=inference(lambda path, body: [1.0] * 256)) as script,
        pytest.raises(EngineError, match="identical.*input_type"),
    ):
        run(script)
    with scripted(answers=inference(lambda path, body: [1.0] * 8)) as script, pytest.raises(EngineError, match="8 dim"):
        run(script)
    with scripted(answers=inference(by_role)) as script, pytest.raises(EngineError, match="one prefix"):
        run(script, contract=SYMMETRIC, served_as="clusters")


def test_an_endpoint_that_gives_no_floats_is_named() -> None:
    answers = inference(by_role)
    answers["POST", "/_inference/text_embedding/n"] = (200, {"text_embedding_bytes": [{"embedding": [1, 2]}]})
    with scripted(answers=answers) as script, pytest.raises(EngineError, match="n returned no float.*bytes"):
        run(script)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (refusal(403, "security_exception", "current license is non-compliant for [inference]"), "license"),
        (refusal(403, "security_exception", "action [cluster:admin/xpack/inference/put] is unauthorized"),
         "manage_inference"),
        (refusal(401, "security_exception", "missing authentication credentials"), "ELASTICSEARCH_API_KEY"),
        (refusal(400, "status_exception", "Cloud connected mode is not configured, please configure it"), "--connect"),
        (refusal(400, "status_exception", "Could not complete inference endpoint creation as validation call to service"
                 " threw an exception."), "can the node reach"),
        (refusal(500, "no_shard_available_action_exception", "no shard"), "try again"),
    ],
)  # fmt: skip
def test_a_refusal_names_its_remedy(answer: Answer, match: str) -> None:
    answers = inference(by_role)
    answers["PUT", "/_inference/text_embedding/n"] = answer
    with scripted(answers=answers) as script, pytest.raises(EngineError, match=f"endpoint n: .*{match}"):
        run(script)
