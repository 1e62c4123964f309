"""Filters against LlamaIndex's own reference function, wherever that one is defined."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters, utils
from llama_index.core.vector_stores.types import VectorStoreQuery

from jinavec import Contract, ModelProfile
from jinavec.errors import InvalidFilter
from jinavec_adapters.llama_index import BinaryVectorStore

WORDS = ["", "a", "A", "b", "É", "é", "猫", "Query: a", "a b"]
NUMBERS = [-3, 0, 0.0, 1, 1.5, 2, 2**40]
build_metadata_filter_fn: Any = getattr(utils, "build_metadata_filter_fn", None)
referred = pytest.mark.skipif(build_metadata_filter_fn is None, reason="an old release, whose function is private")

MISSING = object()
TABLES: list[Any] = [{}, {"word": "a"}, [{"word": "a"}], [[]], [None], None, MISSING]


def metadata(dice: random.Random) -> dict[str, Any]:
    """Fields of one kind each, but for a text or a list in either; of tables, filters see emptiness only."""
    lists = [[], *(dice.sample(WORDS, n) for n in (1, 2, 4)), [""]]
    drawn: dict[str, Any] = {
        "word": dice.choice([*WORDS, None, MISSING]),
        "number": dice.choice([*NUMBERS, None, MISSING]),
        "words": dice.choice([*lists, None, MISSING]),
        "truth": dice.choice([True, False, None, MISSING]),
        "either": dice.choice([*WORDS, *lists]),
        "table": dice.choice(TABLES),
    }
    return {name: value for name, value in drawn.items() if value is not MISSING}


DICE = random.Random(6)
METADATA = {f"n{number}": metadata(DICE) for number in range(200)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinaryVectorStore]:
    contract = Contract.of(ModelProfile(name="random", width=16))
    store = BinaryVectorStore(tmp_path_factory.mktemp("filters") / "index", contract=contract)
    vectors = np.random.default_rng(6).normal(size=(len(METADATA), 16))
    nodes = [
        TextNode(id_=id, text=id, metadata=fields, embedding=vector.tolist())
        for (id, fields), vector in zip(METADATA.items(), vectors, strict=True)
    ]
    store.add(nodes)
    yield store
    store.close()


def leaf(key: str, operators: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[MetadataFilter]:
    chosen = st.sampled_from([FilterOperator(operator) for operator in operators.split()])
    return st.builds(MetadataFilter, key=st.just(key), value=values, operator=chosen)


word, number = st.sampled_from(WORDS), st.sampled_from(NUMBERS)
leaves = st.one_of(
    leaf("word", "== != < <= > >=", word),
    leaf("word", "in nin", st.lists(word, max_size=3)),
    leaf("number", "== != < <= > >=", number),
    leaf("number", "in nin", st.lists(number, max_size=3)),
    leaf("words", "contains", word),
    leaf("words", "any", st.lists(word, max_size=3)),
    leaf("words", "all", st.lists(word, min_size=1, max_size=3)),
    leaf("word", "contains text_match text_match_insensitive", word),
    leaf("word", "any", st.lists(word, max_size=3)),
    leaf("word", "all", st.lists(word, min_size=1, max_size=3)),
    leaf("truth", "== !=", number),
    leaf("truth", "in nin", st.lists(number, max_size=3)),
    leaf("either", "contains", word),
    leaf("either", "any all", st.lists(word, min_size=1, max_size=2)),
    leaf("absent", "== != < <= > >= contains text_match text_match_insensitive", word),
    *(leaf(key, "is_empty", st.none()) for key in ("word", "number", "words", "truth", "table", "either", "absent")),
)


def group(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[MetadataFilters]:
    condition = st.sampled_from([*FilterCondition, None])
    return st.builds(MetadataFilters, filters=st.lists(parts, max_size=4), condition=condition)


groups = group(st.recursive(leaves, group, max_leaves=8))


def passes(filters: MetadataFilters, fields: dict[str, Any]) -> bool:
    """Judge by LlamaIndex's function, which knows no nesting: inner groups become the fields of what they say."""
    flat: list[MetadataFilter] = []
    judged = dict(fields)
    for place, part in enumerate(filters.filters):
        if isinstance(part, MetadataFilters):
            judged[f"group {place}"] = int(passes(part, fields))
            flat.append(MetadataFilter(key=f"group {place}", value=1))
        else:
            flat.append(part)
    lookup: Any = {"node": judged}.__getitem__
    return build_metadata_filter_fn(lookup, MetadataFilters(filters=[*flat], condition=filters.condition))("node")


@referred
@settings(max_examples=50)
@given(filters=groups)
def test_filters_mean_what_llama_index_says(store: BinaryVectorStore, filters: MetadataFilters) -> None:
    expected = {id for id, fields in METADATA.items() if passes(filters, fields)}
    assert {node.node_id for node in store.get_nodes(filters=filters)} == expected
    query = VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=len(METADATA), filters=filters)
    found = store.query(query)
    assert set(found.ids or []) == expected
    some = list(METADATA)[::3]
    assert [node.node_id for node in store.get_nodes(some, filters)] == [id for id in some if id in expected]


@referred
@settings(max_examples=50)
@given(filters=groups, k=st.integers(1, 20))
def test_a_filter_selects_before_the_search(store: BinaryVectorStore, filters: MetadataFilters, k: int) -> None:
    query = VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=k, filters=filters)
    expected = sum(passes(filters, fields) for fields in METADATA.values())
    assert len(store.query(query).nodes or []) == min(k, expected)


def ids(store: BinaryVectorStore, *parts: MetadataFilter) -> Sequence[str]:
    return [node.node_id for node in store.get_nodes(filters=MetadataFilters(filters=[*parts]))]


def test_a_list_passes_when_one_of_its_elements_does(store: BinaryVectorStore) -> None:
    having = {id for id, fields in METADATA.items() if "猫" in (fields.get("words") or [])}
    assert having
    assert set(ids(store, MetadataFilter(key="words", value="猫"))) == having
    assert set(ids(store, MetadataFilter(key="words", value=["猫"], operator=FilterOperator.IN))) == having
    unlike = ids(store, MetadataFilter(key="words", value="猫", operator=FilterOperator.NE))
    assert set(unlike) == METADATA.keys() - having


REFUSED: dict[str, tuple[MetadataFilter, str]] = {
    "text_match of a number": (
        MetadataFilter(key="word", value=1, operator=FilterOperator.TEXT_MATCH),
        "substring of 'word' must be a text, not 1",
    ),
    "none": (MetadataFilter(key="word", value=None), "'word'.*None.*is_empty"),
    "list for ==": (MetadataFilter(key="word", value=["a"]), "'=='.*'word'.*one value.*'in'"),
    "value for in": (MetadataFilter(key="word", value="a", operator=FilterOperator.IN), "'in'.*'word'.*list"),
    "value for any": (MetadataFilter(key="words", value="a", operator=FilterOperator.ANY), "'any'.*'words'.*list"),
    "all of nothing": (MetadataFilter(key="words", value=[], operator=FilterOperator.ALL), "'all'.*at least one"),
    "word of the form": (MetadataFilter(key="or", value="a"), "named 'or'"),
    "nan": (MetadataFilter(key="number", value=float("nan")), "'number'.*nan"),
}


@pytest.mark.parametrize(("part", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_translated_is_refused(store: BinaryVectorStore, part: MetadataFilter, message: str) -> None:
    nested = MetadataFilters(filters=[MetadataFilters(filters=[part])], condition=FilterCondition.NOT)
    for filters in (MetadataFilters(filters=[part]), nested):
        with pytest.raises(InvalidFilter, match=message):
            store.query(VectorStoreQuery(query_embedding=[1.0] * 16, filters=filters))
        with pytest.raises(InvalidFilter, match=message):
            store.get_nodes(filters=filters)
        with pytest.raises(InvalidFilter, match=message):
            store.delete_nodes(filters=filters)
    assert len(store.get_nodes()) == len(METADATA)


@pytest.mark.parametrize("operator", FilterOperator)
def test_every_operator_is_translated(store: BinaryVectorStore, operator: FilterOperator) -> None:
    takes_list = operator.value in ("in", "nin", "any", "all")
    assert ids(store, MetadataFilter(key="word", value=["a"] if takes_list else "a", operator=operator))


def test_an_operator_of_a_later_release_is_refused_by_name(store: BinaryVectorStore) -> None:
    class Later(StrEnum):
        NEAR = "near"

    part = MetadataFilter(key="word", value="a").model_copy(update={"operator": Later.NEAR})
    with pytest.raises(InvalidFilter, match="'word' uses 'near'.*it has: ==.*text_match.*is_empty"):
        ids(store, part)


def test_a_part_of_a_text_is_found_whatever_it_is_made_of(store: BinaryVectorStore) -> None:
    """Beyond what LlamaIndex's function is defined for: other kinds of values do not pass, and nothing raises."""
    part = MetadataFilter(key="either", value="a", operator=FilterOperator.TEXT_MATCH)
    texts = {id for id, fields in METADATA.items() if isinstance(fields["either"], str) and "a" in fields["either"]}
    assert set(ids(store, part)) == texts != set()
    for key in ("number", "truth", "table", "absent"):
        for operator in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE, FilterOperator.CONTAINS):
            assert ids(store, MetadataFilter(key=key, value="a", operator=operator)) == []


def test_another_store_of_the_same_folder_finds_the_same(store: BinaryVectorStore) -> None:
    again = BinaryVectorStore(Path(store.path))
    part = MetadataFilter(key="number", value=1, operator=FilterOperator.GTE)
    assert set(ids(again, part)) == set(ids(store, part)) != set()
    again.close()
