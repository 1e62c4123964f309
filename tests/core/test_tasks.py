from __future__ import annotations

from typing import Any

import pytest

from jinavec import ModelProfile, Role, Task, prompt
from jinavec.errors import UnknownTask
from jinavec.tasks import V5_PROMPTS, parse_task, task_name

# The vendor's table: API spelling, adapter, role, exact prefix (config_sentence_transformers.json).
API = [
    ("retrieval.query", "retrieval", "query", b"Query: "),
    ("retrieval.passage", "retrieval", "document", b"Document: "),
    ("text-matching", "text-matching", "query", b"Document: "),
    ("text-matching", "text-matching", "document", b"Document: "),
    ("clustering", "clustering", "query", b"Document: "),
    ("clustering", "clustering", "document", b"Document: "),
    ("classification", "classification", "query", b"Document: "),
    ("classification", "classification", "document", b"Document: "),
]

PROFILE = ModelProfile(
    name="mine",
    width=8,
    prompts={
        (Task.RETRIEVAL, Role.QUERY): "query: ",
        (Task.RETRIEVAL, Role.DOCUMENT): "passage:\u00a0",
        (Task.CLUSTERING, Role.DOCUMENT): "\tcluster\n",
    },
)


@pytest.mark.parametrize(("spelling", "adapter", "role", "prefix"), API)
def test_v5_prefixes_are_exact_bytes(spelling: str, adapter: str, role: str, prefix: bytes) -> None:
    assert prompt(spelling, role).encode() == prefix
    assert prompt(adapter, role).encode() == prefix
    assert prompt(Task(adapter), Role(role)).encode() == prefix


@pytest.mark.parametrize(("spelling", "adapter", "role", "prefix"), API)
def test_api_spellings_parse_and_print(spelling: str, adapter: str, role: str, prefix: bytes) -> None:
    task, implied = parse_task(spelling)
    assert task is Task(adapter)
    assert implied in (None, Role(role))
    assert (implied is None) == ("." not in spelling)
    assert task_name(task, role) == spelling


def test_tasks_and_roles_print_as_the_model_spells_them() -> None:
    assert [str(task) for task in Task] == ["retrieval", "text-matching", "clustering", "classification"]
    assert [str(role) for role in Role] == ["query", "document"]
    assert f"{Task.TEXT_MATCHING}" == "text-matching"
    assert parse_task(Task.CLUSTERING) == (Task.CLUSTERING, None)


@pytest.mark.parametrize(
    ("task", "role", "prefix"),
    [
        ("retrieval", "query", "query: "),
        ("retrieval.query", "query", "query: "),
        ("retrieval", "document", "passage:\u00a0"),
        ("retrieval.passage", "document", "passage:\u00a0"),
        ("clustering", "document", "\tcluster\n"),
        ("clustering", "query", ""),
        ("text-matching", "document", ""),
    ],
)
def test_a_profile_brings_its_own_table(task: str, role: str, prefix: str) -> None:
    assert prompt(task, role, PROFILE) == prefix


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("role", list(Role))
def test_a_profile_without_prompts_adds_nothing(task: Task, role: Role) -> None:
    assert prompt(task, role, ModelProfile(name="bare", width=8)) == ""


@pytest.mark.parametrize(("task", "role"), [("retrieval.query", "document"), ("retrieval.passage", "query")])
@pytest.mark.parametrize("profile", [None, PROFILE])
def test_a_suffix_against_the_role_is_refused(task: str, role: str, profile: ModelProfile | None) -> None:
    with pytest.raises(UnknownTask, match=rf"'{task}'.*'{role}'"):
        prompt(task, role, profile)


@pytest.mark.parametrize("door", [lambda: Task("separation"), lambda: prompt("separation", "document")])
def test_the_v3_name_is_refused_with_the_right_one(door: Any) -> None:
    with pytest.raises(UnknownTask, match="'separation'.*'clustering'"):
        door()


@pytest.mark.parametrize(
    "task", ["Retrieval", "retrieval ", "", "retrieval.document", "text_matching", "search", None, 3, [], b"retrieval"]
)
def test_unknown_tasks_are_refused_by_name(task: Any) -> None:
    with pytest.raises(UnknownTask) as refusal:
        prompt(task, "query")
    assert repr(task) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(UnknownTask, match="retrieval, text-matching, clustering, classification"):
        Task("summarisation")


def test_a_task_with_a_suffix_says_where_the_role_belongs() -> None:
    with pytest.raises(UnknownTask, match=r"'retrieval\.query' also names a role"):
        Task("retrieval.query")


@pytest.mark.parametrize("role", ["passage", "Query", "", None, 1])
def test_unknown_roles_are_refused_with_the_known_ones(role: Any) -> None:
    with pytest.raises(UnknownTask, match="query, document"):
        prompt("retrieval", role)


def test_the_table_cannot_be_changed_by_accident() -> None:
    table: Any = V5_PROMPTS
    with pytest.raises(TypeError):
        table[Task.RETRIEVAL, Role.QUERY] = "query: "
