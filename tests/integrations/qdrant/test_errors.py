"""Every exception of qdrant-client has its translation."""

from __future__ import annotations

import inspect

import pytest
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions

from jinavec.errors import EngineError, IndexNotFound, JinavecError
from jinavec_integrations.qdrant.faults import STATUSES, table, translate

FOREIGN = [
    kind
    for module in (exceptions, client_exceptions)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_exception_of_the_client_is_forgotten(kind: type[Exception]) -> None:
    assert any(known is kind for known, _ in table())


def test_the_most_specific_comes_first() -> None:
    kinds = [kind for kind, _ in table()]
    for number, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[number + 1 :])


@pytest.mark.parametrize("status", [*STATUSES, 418, 500, 503])
def test_statuses(status: int) -> None:
    import httpx

    content = b'{"status": {"error": "the reason"}}'
    error = translate(
        exceptions.UnexpectedResponse(status, "x", content, httpx.Headers()), "here/notes", "nothing was done"
    )
    assert isinstance(error, IndexNotFound if status == 404 else EngineError)
    assert "here/notes" in str(error)
    assert "the reason: nothing was done" in str(error)


def test_what_is_ours_or_a_defect_is_left_alone() -> None:
    assert translate(JinavecError("x"), "here") is None
    assert translate(TypeError("x"), "here") is None
