"""A mistake of ours is not reported as damage: whoever reads that would throw away a sound index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jinavec import Record
from jinavec_integrations.faiss import BinaryIndex

USES: dict[str, Callable[[BinaryIndex], object]] = {
    "match": lambda index: index.search(np.ones(12), 3, {"n": {"gt": 2**70}}),
    "read_entry": lambda index: index.search(np.ones(12), 3, {"n": 2**70}),
    "lookups": lambda index: index.search(np.ones(12), 3, {"n": 1}),
    "stored_record": lambda index: index.get("1"),
    "entries": lambda index: index.delete("1"),
    "is_unicode": lambda index: index.vectors(["1"]),
}
"""Something that calls it, by the name of each function that the records use."""


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, AssertionError])
@pytest.mark.parametrize("name", USES)
def test_a_bug_leaves_with_its_own_type(
    index: BinaryIndex, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]
) -> None:
    def planted(*_: Any) -> Any:
        raise error("planted")

    index.add([Record("1", "", {"n": 2**70}), Record("2", "", {"n": 1})], np.ones((2, 12)))
    with monkeypatch.context() as patch:
        patch.setattr(f"jinavec_integrations.faiss.storage.records.{name}", planted)
        with pytest.raises(error, match="planted"):
            USES[name](index)
    index.verify()
    assert index.count() == 2
