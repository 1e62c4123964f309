from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec import Contract, JinavecWarning, ModelProfile, Role, Task
from jinavec.errors import ContractMismatch, InvalidDimension, InvalidInput, InvalidType, UnknownModel, UnknownTask

SMALL, NANO = "jina-embeddings-v5-text-small", "jina-embeddings-v5-text-nano"

COMPARED: dict[str, Any] = {
    "model": SMALL,
    "task": Task.CLUSTERING,
    "query_prefix": "query: ",
    "document_prefix": "",
    "dimension": 128,
    "normalized": False,
    "pooling": "mean",
}
RECORDED = {
    "source": "jinaai/other",
    "precision": "int8",
    "revision": "abc",
    "backend": "onnx",
    "host": "https://api.jina.ai",
}


def contract(**changes: Any) -> Contract:
    return dataclasses.replace(Contract.of(NANO, dimension=256), **changes)


# what a contract says


def test_a_contract_says_what_made_a_vector() -> None:
    assert Contract.of(NANO, "retrieval", 256) == Contract(
        model=NANO, task=Task.RETRIEVAL, query_prefix="Query: ", document_prefix="Document: ", dimension=256
    )
    assert Contract.of(SMALL, Task.CLUSTERING) == Contract(
        model=SMALL, task=Task.CLUSTERING, query_prefix="Document: ", document_prefix="Document: ", dimension=1024
    )


def test_the_defaults_are_those_of_load() -> None:
    assert Contract.of(NANO).task is Task.RETRIEVAL
    assert Contract.of(NANO).dimension == 768
    assert Contract.of(NANO).normalized is True
    assert Contract.of(f"jinaai/{SMALL}-text-matching").task is Task.TEXT_MATCHING


@pytest.mark.parametrize("base", [SMALL, NANO])
@pytest.mark.parametrize("task", list(Task))
def test_a_merged_name_is_its_base_and_the_task(base: str, task: Task) -> None:
    assert Contract.of(f"{base}-{task}", dimension=64) == Contract.of(base, task, 64)
    assert Contract.of(f"{base}-{task}").digest == Contract.of(base, task).digest


def test_a_profile_of_ones_own_brings_its_prompts() -> None:
    prompts: Any = {("retrieval", "query"): "query: "}
    made = Contract.of(ModelProfile(name="mine", width=384, prompts=prompts, limit=512))
    assert (made.model, made.query_prefix, made.document_prefix, made.dimension) == ("mine", "query: ", "", 384)


def test_no_two_catalogue_models_compare() -> None:
    contracts = [Contract.of(name, dimension=64) for name in (SMALL, NANO, "lexical", "wordllama-256")]
    assert len(set(contracts)) == len({made.digest for made in contracts}) == 4


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UnknownModel):
        Contract.of("unknown")
    with pytest.raises(UnknownTask):
        Contract.of(f"{NANO}-clustering", "retrieval")
    with pytest.raises(InvalidDimension):
        Contract.of(NANO, dimension=1024)


@pytest.mark.parametrize(
    "field",
    [
        {"dimension": 0},
        {"dimension": -1},
        {"dimension": "256"},
        {"dimension": True},
        {"dimension": 256.0},
        {"task": "separation"},
        {"task": None},
        {"model": 3},
        {"query_prefix": None},
        {"normalized": 1},
        {"revision": None},
    ],
    ids=str,
)
def test_a_contract_of_wrong_kinds_cannot_be_made(field: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        contract(**field)
    with pytest.raises(InvalidInput):
        Contract.from_json(contract().to_json() | field)


def test_a_contract_is_frozen_and_hashable() -> None:
    made: Any = contract()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.dimension = 8
    assert hash(made) == hash(contract())


# what is compared


@pytest.mark.parametrize("name", COMPARED)
def test_each_compared_field_makes_another_contract(name: str) -> None:
    other = contract(**{name: COMPARED[name]})
    assert other != contract()
    assert other.digest != contract().digest
    with pytest.raises(ContractMismatch, match=name):
        contract().check(other)


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_only_recorded_does_not_separate(name: str) -> None:
    other = contract(**{name: RECORDED[name]})
    assert getattr(other, name) == RECORDED[name]
    assert other == contract()
    assert hash(other) == hash(contract())
    assert other.digest == contract().digest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contract().check(other)
        other.check(contract())


def test_a_mismatch_shows_every_differing_field_of_both_sides() -> None:
    ours = contract(revision="abc", precision="int8")
    theirs = Contract.of(SMALL, "text-matching", 1024)
    with pytest.raises(ContractMismatch) as refusal:
        ours.check(theirs)
    message = str(refusal.value)
    assert f"model: this index has '{NANO}', the encoder has '{SMALL}'" in message
    assert "task: this index has 'retrieval', the encoder has 'text-matching'" in message
    assert "query_prefix: this index has 'Query: ', the encoder has 'Document: '" in message
    assert "dimension: this index has 256, the encoder has 1024" in message
    assert not any(same in message for same in ("document_prefix", "normalized", "revision", "precision", "\n"))
    with pytest.raises(ContractMismatch, match="the folder has 256, my vectors has 1024"):
        ours.check(theirs, ours="the folder", theirs="my vectors")


def test_another_revision_is_a_warning_at_the_line_that_asked() -> None:
    with pytest.warns(JinavecWarning, match="revision abc .* uses def") as caught:
        contract(revision="abc").check(contract(revision="def"))
    assert [warning.filename for warning in caught] == [__file__]


def test_another_source_of_one_backend_is_a_warning() -> None:
    here, there = (contract(source=source, backend="torch") for source in ("/models/a", "/models/b"))
    with pytest.warns(JinavecWarning, match="weights in /models/a, the encoder uses those in /models/b"):
        here.check(there)
    here.check(dataclasses.replace(there, backend="onnx"))  # its files are others by nature


def test_a_contract_without_pooling_goes_with_every_one() -> None:
    """That of indexes made before it was recorded, and of foreign embeddings; of the catalogue it is known."""
    old, last, mean = (
        Contract.of(ModelProfile(name="mine", width=64, pooling=pooling)) for pooling in ("cls", "last", "mean")
    )
    values = old.to_json()
    del values["pooling"]
    old = Contract.from_json(values)
    old.check(last)
    mean.check(old)
    with pytest.raises(ContractMismatch, match="pooling: this index has 'last', the encoder has 'mean'"):
        last.check(mean)
    values = contract().to_json()
    del values["pooling"], values["source"]
    assert Contract.from_json(values) == contract()


def test_a_sealed_contract_cannot_be_edited() -> None:
    sealed = contract().sealed()
    assert Contract.from_json(sealed) == contract()
    with pytest.raises(InvalidInput, match="was edited"):
        Contract.from_json(sealed | {"document_prefix": "passage: "})


@pytest.mark.parametrize("other", [None, "contract", contract().to_json()])
def test_only_contracts_compare(other: Any) -> None:
    with pytest.raises(InvalidType, match="Contract is needed"):
        contract().check(other)


# JSON and digest

contracts = st.builds(
    Contract,
    model=st.text(),
    task=st.sampled_from(Task),
    query_prefix=st.text(),
    document_prefix=st.text(),
    dimension=st.integers(1, 4096),
    normalized=st.booleans(),
    pooling=st.sampled_from(["", "last", "mean"]),
    source=st.text(),
    precision=st.text(),
    revision=st.text(),
    backend=st.text(),
    host=st.text(),
)


@given(contracts)
def test_json_keeps_every_field(made: Contract) -> None:
    values = made.to_json()
    assert Contract.from_json(json.loads(json.dumps(values))) == made
    assert Contract.from_json(values).to_json() == values
    assert set(values) == {field.name for field in dataclasses.fields(Contract)}


@given(contracts, contracts)
def test_digests_are_equal_exactly_when_contracts_are(one: Contract, other: Contract) -> None:
    assert (one.digest == other.digest) == (one == other)
    mixed = dataclasses.replace(other, **{name: getattr(one, name) for name in COMPARED})
    assert mixed == one
    assert mixed.digest == one.digest


def test_the_digest_never_changes() -> None:
    """It may be stored beside vectors: a new value would refuse all of them."""
    assert Contract.of(NANO, "retrieval", 256).digest == "6f85af39566ed841"


def test_plain_strings_are_taken_for_the_task() -> None:
    values: Any = {"model": "m", "task": "clustering", "query_prefix": "", "document_prefix": "", "dimension": 8}
    made = Contract(**values)
    assert made.task is Task.CLUSTERING
    assert made.to_json()["task"] == "clustering"


@pytest.mark.parametrize("missing", [name for name in COMPARED if name != "pooling"])
def test_json_without_a_compared_field_is_refused(missing: str) -> None:
    values = contract().to_json()
    del values[missing]
    with pytest.raises(InvalidInput, match=missing):
        Contract.from_json(values)


def test_json_of_older_versions_may_lack_what_is_only_recorded() -> None:
    values = contract().to_json()
    for name in RECORDED:
        del values[name]
    assert Contract.from_json(values) == contract()


def test_json_of_a_newer_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="temperature"):
        Contract.from_json(contract().to_json() | {"temperature": 1})


@pytest.mark.parametrize("values", [None, [], "x" * 1000, 3, {}, [contract().to_json()]])
def test_what_is_no_contract_is_refused_briefly(values: Any) -> None:
    with pytest.raises(InvalidInput, match="not a contract") as refusal:
        Contract.from_json(values)
    assert len(str(refusal.value)) < 200


def test_roles_pick_the_prefixes() -> None:
    made = Contract.of(NANO, "retrieval")
    assert {Role.QUERY: made.query_prefix, Role.DOCUMENT: made.document_prefix} == {
        "query": "Query: ",
        "document": "Document: ",
    }
