"""Inference set-up: golden requests, and a run against a scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jinavec import Contract
from jinavec.errors import EngineError, InvalidInput

pytest.importorskip("elasticsearch")
from jinavec_integrations.elasticsearch.connect import connect
from jinavec_integrations.elasticsearch.inference import PROBE, InferenceSetup
from jinavec_integrations.elasticsearch.setup import set_up

from ...scripted_elasticsearch import Answer, Asked, Script, refusal, scripted

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


def plain(setup: InferenceSetup) -> list[tuple[str, str, Any]]:
    return [(request.method, request.path, request.body) for request in setup.requests()]


def test_the_hosted_service_needs_one_endpoint() -> None:
    assert plain(InferenceSetup(name="notes", contract=SMALL)) == [
        ("PUT", "/_inference/text_embedding/notes", ELASTIC),
        ("POST", "/_inference/text_embedding/notes", {"input": [PROBE], "input_type": "ingest"}),
        ("POST", "/_inference/text_embedding/notes", {"input": [PROBE], "input_type": "search"}),
    ]


def test_a_server_of_ones_own_is_connected_first() -> None:
    first = plain(InferenceSetup(name="notes", contract=SMALL, connect=True, api_key="k"))[0]
    assert first == ("PUT", "/_inference/_ccm", {"api_key": "k"})


def test_a_service_that_loses_the_role_gets_a_pair_with_the_task_in_the_request() -> None:
    url = "http://host:8080/v1/embeddings"
    requests = plain(InferenceSetup(name="notes", contract=SMALL, service="custom", url=url, api_key="secret"))
    assert [path for _, path, _ in requests[:2]] == [
        "/_inference/text_embedding/notes-passage",
        "/_inference/text_embedding/notes-query",
    ]
    for (_, _, body), task in zip(requests[:2], ("retrieval.passage", "retrieval.query"), strict=True):
        settings = body["service_settings"]
        assert settings["secret_parameters"] == {"api_key": "secret"}
        assert settings["headers"]["Authorization"] == "Bearer ${api_key}"
        assert settings["response"]["json_parser"]["text_embeddings"] == "$.data[*].embedding[*]"
        filled = json.loads(settings["request"].replace("${input}", '["a", "b"]'))
        assert filled == {
            "input": ["a", "b"],
            "model": "jina-embeddings-v5-text-small",
            "task": task,
            "dimensions": 256,
            "normalized": True,
        }
    assert requests[2][2] == requests[3][2] == {"input": [PROBE]}


def test_openai_gets_a_pair_of_addresses() -> None:
    setup = InferenceSetup(
        name="notes", contract=SMALL, service="openai", url="http://h/{role}/v1/embeddings", served_as="small"
    )
    assert [body["service_settings"] for _, _, body in plain(setup)[:2]] == [
        {
            "url": f"http://h/{role}/v1/embeddings",
            "model_id": "small",
            "api_key": "none",
            "dimensions": 256,
            "similarity": "cosine",
        }
        for role in ("passage", "query")
    ]


def test_index_and_pipeline() -> None:
    setup = InferenceSetup(name="n", contract=SMALL, service="custom", url="http://h", index="notes", pipeline="p")
    index, pipeline = setup.put_index, setup.put_pipeline
    assert index is not None and index.path == "/notes" and index.body is not None
    assert index.body["mappings"] == {
        "_meta": {"jinavec_contract": SMALL.to_json()},
        "properties": {
            "content": {
                "type": "semantic_text",
                "inference_id": "n-passage",
                "search_inference_id": "n-query",
                "index_options": {"dense_vector": {"type": "bbq_hnsw", "m": 16, "ef_construction": 100}},
            }
        },
    }
    assert pipeline is not None and pipeline.path == "/_ingest/pipeline/p" and pipeline.body is not None
    assert pipeline.body["processors"] == [
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
        ({"contract": SYMMETRIC}, "take custom"),
        ({"service": "custom"}, "needs the url"),
        ({"service": "openai", "url": "http://h"}, "role"),
        ({"service": "nobody"}, "known: elastic"),
        ({"name": "No Name"}, "lower-case"),
        ({"connect": True}, "JINAVEC_API_KEY"),
        ({"service": "custom", "url": "http://h", "connect": True, "api_key": "k"}, "belongs to service elastic"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        InferenceSetup(**wanted(**change))


def inference(embed: Callable[[str, dict[str, Any]], list[float]]) -> dict[Any, Any]:
    """Answers of a server that keeps endpoints, indices and pipelines."""
    kept: dict[str, Any] = {}

    def put(asked: Asked) -> Answer:
        kept[asked.path] = json.loads(asked.body)
        return 200, {"acknowledged": True}

    def get(asked: Asked) -> Answer:
        path = asked.path.removesuffix("/_mapping")
        if path not in kept:
            return refusal(404, "resource_not_found_exception", "not found")
        return 200, {"endpoints": [kept[path]]} if "_inference" in path else {path[1:]: kept[path]}

    def post(asked: Asked) -> Answer:
        return 200, {"text_embedding": [{"embedding": embed(asked.path, json.loads(asked.body))}]}

    paths = [f"/_inference/text_embedding/n{side}" for side in ("", "-passage", "-query")]
    answers: dict[Any, Any] = {
        ("PUT", path): put for path in (*paths, "/notes", "/_ingest/pipeline/p", "/_inference/_ccm")
    }
    return (
        answers
        | {("GET", path): get for path in (*paths, "/notes/_mapping")}
        | {("POST", path): post for path in paths}
    )


def by_role(path: str, body: dict[str, Any]) -> list[float]:
    query = body.get("input_type") == "search" or path.endswith("query")
    return [1.0, float(query), *[0.0] * 254]


def run(script: Script, **given: Any) -> list[str]:
    said: list[str] = []
    with connect(script.url) as client:
        set_up(client, InferenceSetup(**wanted(**given)), said.append)
    return said


@pytest.mark.parametrize("given", [{"connect": True, "api_key": "k"}, {"service": "custom", "url": "http://h"}])
def test_setting_up_again_changes_nothing(given: dict[str, Any]) -> None:
    with scripted(answers=inference(by_role)) as script:
        first = run(script, index="notes", pipeline="p", **given)
        assert any("made endpoint" in line for line in first) and "made index notes" in first
        assert "cosine of passage and query 0.7071" in first[-1]
        script.asked.clear()
        second = run(script, index="notes", pipeline="p", **given)
        assert not any("made" in line for line in second)
        puts = {path for path in script.paths() if path.startswith("PUT")}
        assert puts <= {"PUT /_ingest/pipeline/p", "PUT /_inference/_ccm"}


def test_something_else_under_the_name_is_left_alone() -> None:
    with scripted(answers=inference(by_role)) as script:
        run(script, index="notes")
        with pytest.raises(EngineError, match="another dimensions"):
            run(script, contract=Contract.of("jina-embeddings-v5-text-small", dimension=512))
        with pytest.raises(EngineError, match="semantic_text"):
            run(script, service="custom", url="http://h", index="notes")


def test_the_probes_find_a_lost_role_and_a_wrong_dimension() -> None:
    with (
        scripted(answers=inference(lambda path, body: [1.0] * 256)) as script,
        pytest.raises(EngineError, match="role"),
    ):
        run(script)
    with scripted(answers=inference(lambda path, body: [1.0] * 8)) as script, pytest.raises(EngineError, match="8 dim"):
        run(script)
    with scripted(answers=inference(by_role)) as script, pytest.raises(EngineError, match="one prefix"):
        run(script, contract=SYMMETRIC, service="custom", url="http://h")


def test_a_refusal_names_its_remedy() -> None:
    answers = inference(by_role)
    reason = "current license is non-compliant for [inference]"
    answers["PUT", "/_inference/text_embedding/n"] = refusal(403, "security_exception", reason)
    with scripted(answers=answers) as script, pytest.raises(EngineError, match="licence"):
        run(script)
