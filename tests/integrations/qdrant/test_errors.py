"""Every exception of qdrant-client becomes one of ours; a bug is no failure of Qdrant and keeps its type."""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions
from tests.support.edge_server import QdrantServer, failed

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.engine import Engine
from jinavec.errors import EngineError, IndexNotFound
from jinavec_integrations.qdrant.errors import STATUSES, Table, folder_errors, local_errors, server_errors, translate

FOREIGN = [
    kind
    for module in (exceptions, client_exceptions)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == module.__name__
]
TABLES = [server_errors, local_errors, folder_errors]


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_exception_of_the_client_is_forgotten(kind: type[Exception]) -> None:
    assert kind in server_errors()


@pytest.mark.parametrize("table", TABLES)
def test_the_most_specific_comes_first(table: Callable[[], Table]) -> None:
    kinds = list(table())
    for number, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[number + 1 :])


@pytest.mark.parametrize("status", [*STATUSES, 418, 500, 503])
def test_statuses(status: int) -> None:
    content = b'{"status": {"error": "the reason"}}'
    answer = exceptions.UnexpectedResponse(status, "x", content, httpx.Headers())
    error = translate(server_errors(), "here/notes", answer)
    assert isinstance(error, IndexNotFound if status == 404 else EngineError)
    assert "here/notes" in str(error)
    assert "the reason" in str(error)


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (404, 'Shard key "a" not found', "has no such shard: Shard key"),
        (403, "Write operations are forbidden: the storage is locked", "takes no writes for now"),
        (400, "JSON payload (9 bytes) is larger than allowed (limit: 8 bytes)", "takes no request of this length"),
        (400, "Wrong input: Not existing vector name error: x", "has other vectors by now"),
    ],
)
def test_what_a_status_means_is_in_its_message(status: int, message: str, words: str) -> None:
    content = json.dumps({"status": {"error": message}}).encode()
    answer = exceptions.UnexpectedResponse(status, "x", content, httpx.Headers())
    error = translate(server_errors(), "here/notes", answer)
    assert isinstance(error, EngineError)
    assert not isinstance(error, IndexNotFound)
    assert words in str(error)


@pytest.mark.parametrize("bug", [TypeError, KeyError, ValueError, AttributeError])
def test_what_no_client_raises_is_left_alone(bug: type[Exception]) -> None:
    assert translate(server_errors(), "here", bug("x")) is None
    assert translate(local_errors(), "here", bug("x")) is None


# A bug of our own, planted in a place that each operation passes.

CONTRACT = Contract.of(ModelProfile(name="bugs", width=4))
ONES = np.ones((1, 4), np.float32)
RECORD = Record("a", "text", {"n": 1, "big": 2**80})
BUGS = [TypeError, KeyError, ValueError, AssertionError]


@pytest.fixture(scope="module")
def server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


@pytest.fixture(scope="module", params=["local", "server"])
def index(request: pytest.FixtureRequest, server: QdrantServer) -> Iterator[Engine]:
    place = server.url if request.param == "server" else ":memory:"
    with open_engine(f"qdrant:{place}/{uuid.uuid4()}", contract=CONTRACT) as index:
        index.add([RECORD], ONES)
        yield index


USES: list[tuple[str, str, Callable[[Engine], object]]] = [
    ("jinavec_integrations.qdrant.filters", "_term", lambda index: index.search(ONES[0], filter={"n": 1})),
    ("jinavec_integrations.qdrant.filters", "_term", lambda index: list(index.iterate(filter={"n": 1}))),
    ("jinavec_integrations.qdrant.filters", "_term", lambda index: index.add([RECORD], ONES)),
    ("jinavec_integrations.qdrant.index", "same_content", lambda index: index.ingest([RECORD], ONES)),
    ("jinavec_integrations.qdrant.convert", "foreign_text", lambda index: index.get("a")),
    ("jinavec_integrations.qdrant.convert", "foreign_text", lambda index: index.search(ONES[0])),
    ("jinavec_integrations.qdrant.convert", "foreign_text", lambda index: list(index.iterate())),
    ("jinavec_integrations.qdrant.convert", "_survives", lambda index: index.add([RECORD], ONES)),
    ("jinavec_integrations.qdrant.points", "point_id", lambda index: index.delete("a")),
    ("jinavec_integrations.qdrant.presets", "search_params", lambda index: index.search(ONES[0])),
]


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize(("module", "function", "use"), USES)
def test_a_bug_keeps_its_type(
    index: Engine, monkeypatch: pytest.MonkeyPatch, bug: type[Exception], module: str, function: str, use: Any
) -> None:
    def planted(*args: object, **kwargs: object) -> object:
        raise bug("planted")

    monkeypatch.setattr(f"{module}.{function}", planted)
    with pytest.raises(bug, match="planted") as caught:
        use(index)
    assert caught.type is bug


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_table_keeps_its_type(
    server: QdrantServer, monkeypatch: pytest.MonkeyPatch, bug: type[Exception]
) -> None:
    def planted(where: str, message: str) -> EngineError:
        raise bug("planted")

    monkeypatch.setitem(STATUSES, 400, planted)
    with open_engine(f"qdrant:{server.url}/notes", contract=CONTRACT) as index:
        server.fail("POST .*/count", failed(400, "no"))
        with pytest.raises(bug, match="planted") as caught:
            index.count()
    assert caught.type is bug
