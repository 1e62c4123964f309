"""What every engine promises; a new one joins by a row in TARGETS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support import qdrant_server
from tests.support.elasticsearch_server import elasticsearch_url, forget_index

from jinavec.targets import ENGINES
from jinavec.testing import EngineSuite

TARGETS: dict[str, Callable[[Path], str]] = {
    "elasticsearch": lambda folder: f"elasticsearch:{elasticsearch_url()}/contract-{uuid4().hex}",
    "faiss": lambda folder: f"faiss:{folder / 'index'}",
    "qdrant": lambda folder: f"qdrant:{folder}/collection",
    "qdrant memory": lambda folder: f"qdrant::memory:/{uuid4()}",
    "qdrant server": lambda folder: qdrant_server.new_collection(),
}
"""A place of its own for each test, by engine and kind of place."""
MARKERS = {"elasticsearch": pytest.mark.elasticsearch, "qdrant server": pytest.mark.qdrant}
"""What needs a server."""
FORGET: dict[str, Callable[[str], None]] = {"elasticsearch": forget_index, "qdrant server": qdrant_server.forget}
"""Takes away what a test made, where that is not in its folder."""


class TestEngines(EngineSuite):
    @pytest.fixture(params=[pytest.param(name, marks=MARKERS.get(name, ())) for name in TARGETS])
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
        place = TARGETS[request.param](tmp_path)
        yield place
        FORGET.get(request.param, str)(place)


def test_every_engine_is_tried() -> None:
    assert {name.split()[0] for name in TARGETS} == ENGINES.keys()
