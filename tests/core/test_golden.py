"""Golden values: those of v5, and how they are read and written."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from jinavec import ModelProfile, Role, Task, prompt
from jinavec.backends.verification import Comparison
from jinavec.errors import InvalidInput
from jinavec.golden import PUBLISHED, GoldenValues, Similarities, TokenCount
from jinavec.models import CATALOGUE, find_model

NANO = find_model("jina-embeddings-v5-text-nano")
IDS = {
    ("small", "Query: How fast does light travel in a vacuum?"): (
        *(2859, 25, 2585, 4937, 1558, 3100, 5821, 304, 264, 28202, 30),
    ),
    ("nano", "Query: How fast does light travel in a vacuum?"): (
        *(2929, 25, 2650, 5043, 1587, 3177, 5944, 304, 264, 29302, 30, 128001),
    ),
    ("small", "Document: How fast does light travel in a vacuum?"): (
        *(7524, 25, 2585, 4937, 1558, 3100, 5821, 304, 264, 28202, 30),
    ),
}
SIMILARITIES = {
    ("small", Task.RETRIEVAL): (0.4860, 0.7611, 0.5914, 0.6188),
    ("nano", Task.RETRIEVAL): (0.5013, 0.7914, 0.6133, 0.5736),
    ("small", Task.TEXT_MATCHING): (0.7833, 0.8926, 0.9333, 0.9421, 0.7588, 0.9068, 0.9301, 0.8521, 0.8768),
}


def test_the_catalogue_holds_what_is_published() -> None:
    for (size, text), ids in IDS.items():
        golden = PUBLISHED[f"jina-embeddings-v5-text-{size}"]
        assert [known.ids for known in golden.tokens if known.text == text] == [ids] and golden.count(text) == len(ids)
    found = {
        (name.rpartition("-")[2], task): values.cosines
        for name, golden in PUBLISHED.items()
        for task, values in golden.similarities.items()
    }
    assert found == SIMILARITIES
    for profile in CATALOGUE.values():
        assert profile.golden == PUBLISHED.get(profile.base or profile.name)
        for known in profile.golden.tokens if profile.golden else ():
            assert known.text.startswith(tuple(prompt("retrieval", role) for role in Role))
            assert known.ids[-1:] == (profile.appended or known.ids[-1:])


def test_a_profile_under_the_name_of_a_known_model_has_its_values() -> None:
    assert ModelProfile(name=NANO.name, width=768).golden == NANO.golden
    assert ModelProfile(name="mine", base=NANO.name, width=768).golden == NANO.golden
    assert ModelProfile(name="mine", width=768).golden is None
    assert "golden" not in NANO.to_json() and ModelProfile.from_json(NANO.to_json()) == NANO
    none = replace(NANO, golden=GoldenValues())
    assert none.to_json()["golden"] == {} and ModelProfile.from_json(none.to_json()) == none != NANO


@pytest.mark.parametrize(
    "values", [*PUBLISHED.values(), GoldenValues(tokens=(TokenCount(text='a"\\\x7f\n', count=3),))]
)
def test_toml(values: GoldenValues) -> None:
    read = tomllib.loads(values.to_toml())["golden"]
    assert GoldenValues.from_json(read) == values == GoldenValues.from_json(values.to_json())
    profile = ModelProfile.from_json({"name": "mine", "width": 8, "golden": read})
    assert profile.golden == values and ModelProfile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        ([], "golden is a table"),
        ({"ids": []}, "unknown field 'ids' in golden; known: tokens, similarities"),
        ({"tokens": {"text": "a"}}, "golden tokens are a list of tables"),
        ({"tokens": [{"text": "a"}]}, "a text with its ids or their count"),
        ({"tokens": [{"count": 3}]}, "golden.tokens lacks a field: .*'text'"),
        ({"tokens": [{"text": "a", "ids": [1, 2], "count": 3}]}, "are 2, but their count is 3"),
        ({"tokens": [{"text": "a", "ids": 3}]}, "ids is a list"),
        ({"tokens": [{"text": "a", "count": True}]}, "a text with its ids or their count"),
        ({"similarities": {"separation": {}}}, "unknown field 'separation' in golden.similarities"),
        ({"similarities": {"retrieval": {"query": "a", "documents": ["b"], "cosines": []}}}, "1 and 0"),
        ({"similarities": {"retrieval": {"query": "a", "documents": [], "cosines": []}}}, "takes? 1 to 9 documents"),
        ({"similarities": {"retrieval": {"query": "a", "documents": ["b"], "cosines": [2]}}}, "from -1 to 1"),
        ({"similarities": {"retrieval": {"query": 1, "documents": ["b"], "cosines": [0]}}}, "between texts"),
        ({"similarities": {"retrieval": {"query": "a", "documents": "b", "cosines": [0]}}}, "documents is a list"),
    ],
    ids=str,
)
def test_values_that_cannot_be(golden: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        ModelProfile.from_json({"name": "mine", "width": 8, "golden": golden})


@pytest.mark.parametrize(
    ("measured", "refused", "warned"),
    [
        ((0.50, 0.60, 0.90), False, False),
        ((0.519, 0.581, 0.90), False, False),
        ((0.521, 0.60, 0.90), False, True),
        ((0.549, 0.551, 0.851), False, True),
        ((0.551, 0.60, 0.90), True, True),
        ((0.55, 0.549, 0.90), True, True),  # the wrong order, of two that are .1 apart
        ((0.50, 0.60, float("nan")), True, True),
    ],
)
def test_limits(measured: tuple[float, ...], refused: bool, warned: bool) -> None:
    golden = Similarities(query="q", documents=("a", "b", "c"), cosines=(0.5, 0.6, 0.9))
    compared = Comparison(golden=golden, measured=measured)
    assert (compared.is_refused, bool(compared.warnings)) == (refused, warned)
