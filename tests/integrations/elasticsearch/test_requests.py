"""How many requests it takes: each is a round trip, and on some services a fee."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Encoder, Record, open_engine

pytest.importorskip("elasticsearch")
import elasticsearch
from elastic_transport import Urllib3HttpNode
from tests.support.elasticsearch_server import elasticsearch_url
from tests.support.scripted_elasticsearch import Answer, Asked, Bulk, Script, nothing_found, scripted

from jinavec_adapters.cli import main
from jinavec_integrations.elasticsearch import ElasticsearchIndex

COUNT = 10_240
ENCODER = Encoder.load("lexical", dimension=64)


def records() -> list[Record]:
    return [Record(str(number), f"text number {number}", {"n": number}) for number in range(COUNT)]


def new_index(script: Script) -> Bulk:
    """Let an index be created and filled."""
    created: list[Any] = []

    def create(asked: Asked) -> Answer:
        created.append(asked.lines[0]["mappings"])
        script.answers["GET", "/notes/_mapping"] = (200, {"notes": {"mappings": created[0]}})
        return 200, {"acknowledged": True}

    def add_fields(asked: Asked) -> Answer:
        fields = asked.lines[0]["properties"]["metadata"]["properties"]
        created[0]["properties"]["metadata"].setdefault("properties", {}).update(fields)
        return 200, {"acknowledged": True}

    route = Bulk()
    script.answers |= {
        ("PUT", "/notes"): create,
        ("PUT", "/notes/_mapping"): add_fields,
        ("PUT", "/notes/_bulk"): route,
        ("POST", "/notes/_mget"): nothing_found,
        ("POST", "/notes/_refresh"): (200, {}),
    }
    return route


def test_a_new_index() -> None:
    with scripted() as script:
        route = new_index(script)
        with open_engine(f"elasticsearch:{script.url}/notes", encoder=ENCODER) as engine:
            assert engine.ingest(records()).added == COUNT
        assert len(route.stored) == COUNT
        assert len(script.asked) <= 20
        kinds = Counter(script.paths())
        assert kinds["POST /notes/_mget"] == kinds["GET /notes/_count"] == 0
        assert kinds["PUT /notes/_bulk"] == 10


def test_an_existing_index_costs_two_look_ups_more_for_a_thousand_records() -> None:
    with scripted() as script:
        new_index(script)
        target = f"elasticsearch:{script.url}/notes"
        open_engine(target, encoder=ENCODER).close()
        before = len(script.asked)
        with open_engine(target, encoder=ENCODER) as engine:
            assert engine.ingest(records()).added == COUNT
        assert len(script.asked) - before <= 20 + 2 * COUNT // 1000


@pytest.mark.slow
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "notes.jsonl"
    lines.write_text("".join(f'{{"id": "{number}", "text": "text number {number}"}}\n' for number in range(COUNT)))
    with scripted() as script:
        route = new_index(script)
        flags = ["--to", f"elasticsearch:{script.url}/notes", "--model", "lexical", "--dimension", "64"]
        assert main(["index", str(lines), *flags]) == 0
        assert len(route.stored) == COUNT
        assert len(script.asked) <= 20


@pytest.mark.elasticsearch
def test_a_server_of_any_version(target: str) -> None:
    sent: list[str] = []

    class Counting(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *rest: Any, **more: Any) -> Any:
            sent.append(f"{method} {target}")
            return super().perform_request(method, target, *rest, **more)

    vectors = np.random.default_rng(3).standard_normal((COUNT, 64), np.float32)
    with elasticsearch.Elasticsearch(elasticsearch_url(), node_class=Counting) as client:
        contract = ENCODER.contract
        with open_engine(target, contract=contract, options={"client": client, "storage": "flat"}) as engine:
            assert isinstance(engine, ElasticsearchIndex)
            assert engine.ingest(records(), vectors).added == COUNT
            assert len(sent) <= 20
            assert engine.count() == COUNT
