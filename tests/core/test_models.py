from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from jinavec import Contract, JinavecError, ModelProfile, Role, Task
from jinavec.errors import InvalidDimension, InvalidInput, UnknownModel, UnknownTask
from jinavec.models import CATALOGUE, find_model

SMALL, NANO = "jina-embeddings-v5-text-small", "jina-embeddings-v5-text-nano"
MERGED = [(size, task) for size in (SMALL, NANO) for task in Task]


@pytest.mark.parametrize(
    ("name", "width", "dimensions", "limit", "appended"),
    [
        (SMALL, 1024, {32, 64, 128, 256, 512, 768, 1024}, 32768, ()),
        (NANO, 768, {32, 64, 128, 256, 512, 768}, 8192, (128001,)),
    ],
)
def test_the_v5_models_are_what_their_cards_say(
    name: str, width: int, dimensions: set[int], limit: int, appended: tuple[int, ...]
) -> None:
    for model in (name, *(f"{name}-{task}" for task in Task)):
        profile = find_model(model)
        assert profile.name == model
        assert profile.width == width
        assert set(profile.dimensions) == dimensions
        assert profile.limit == limit
        assert profile.appended == appended
        assert profile.pooling == "last"
        assert profile.license == "CC-BY-NC-4.0"


@pytest.mark.parametrize(("base", "task"), MERGED)
def test_the_eight_merged_names_serve_one_task(base: str, task: Task) -> None:
    profile = find_model(f"{base}-{task}")
    assert profile.task is task
    assert profile.base == base
    assert profile.check_task(None) is task
    assert profile.check_task(task.value) is task
    for other in set(Task) - {task}:
        with pytest.raises(UnknownTask, match=f"'{task}' only.*{base}"):
            profile.check_task(other)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_names_are_found_with_and_without_the_vendor(name: str) -> None:
    assert find_model(name).name == name
    assert find_model(f"jinaai/{name}") is find_model(name)


def test_a_profile_is_its_own_answer() -> None:
    profile = ModelProfile(name="mine", width=8)
    assert find_model(profile) is profile


@pytest.mark.parametrize("name", ["jina-embeddings-v3", "", "jinaai/", f"{SMALL}-separation", NANO.upper(), None, 3])
def test_an_unknown_name_lists_the_known_ones_and_the_way_out(name: Any) -> None:
    with pytest.raises(UnknownModel) as refusal:
        find_model(name)
    message = str(refusal.value)
    assert repr(name) in message
    assert all(known in message for known in CATALOGUE)
    assert "ModelProfile" in message
    assert "--profile" in message
    assert "\n" not in message


def test_repositories_are_those_of_the_hub() -> None:
    assert find_model(NANO).repository(Task.TEXT_MATCHING) == f"jinaai/{NANO}-text-matching"
    assert find_model(f"{SMALL}-clustering").repository(Task.CLUSTERING) == f"jinaai/{SMALL}-clustering"
    assert find_model(NANO).revisions[f"jinaai/{NANO}"] == "8a7f00aac812071b69403df470f1038ec85f8925"
    assert find_model(SMALL).revisions[f"jinaai/{SMALL}"] == "dd76d535f5447ca3897a9c893fb1e612ead98192"


def test_a_profile_needs_only_name_and_width() -> None:
    profile = ModelProfile(name="mine", width=384)
    assert profile.dimensions == (384,)
    assert dict(profile.prompts) == {}
    assert profile.limit is None
    assert profile.task is None
    assert profile.check_task(None) is Task.RETRIEVAL


def test_plain_strings_are_taken_for_tasks_and_roles() -> None:
    prompts: Any = {("retrieval", "query"): "query: "}
    profile = ModelProfile(name="mine", width=384, prompts=prompts, pooling="mean", limit=512)
    assert profile.prompts == {(Task.RETRIEVAL, Role.QUERY): "query: "}
    assert next(iter(profile.prompts))[0] is Task.RETRIEVAL


def test_a_profile_cannot_be_changed() -> None:
    prompts = {(Task.RETRIEVAL, Role.QUERY): "a"}
    profile: Any = ModelProfile(name="mine", width=8, prompts=prompts)
    prompts[Task.RETRIEVAL, Role.QUERY] = "b"
    assert profile.prompts == {(Task.RETRIEVAL, Role.QUERY): "a"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.width = 16
    with pytest.raises(TypeError):
        profile.prompts[Task.RETRIEVAL, Role.QUERY] = "b"


@pytest.mark.parametrize("profile", CATALOGUE.values(), ids=lambda profile: profile.name)
def test_profiles_survive_json_and_copying(profile: ModelProfile) -> None:
    assert ModelProfile.from_json(profile.to_json()) == profile
    assert copy.deepcopy(profile) == profile
    assert hash(copy.copy(profile)) == hash(profile)


def test_a_renamed_profile_is_another_model() -> None:
    mine = dataclasses.replace(find_model("lexical"), name="mine")
    assert Contract.of(mine) != Contract.of("lexical")
    assert Contract.of(mine).model == "mine"


def test_dimensions_are_offered_or_refused_by_list() -> None:
    profile = find_model(NANO)
    assert profile.check_dimension(None) == 768
    assert profile.check_dimension(32) == 32
    bad_dimensions: list[Any] = [0, -1, 31, 33, 96, 1024, True, "256", 256.5]
    for bad in bad_dimensions:
        with pytest.raises(InvalidDimension, match="32, 64, 128, 256, 512, 768") as refusal:
            profile.check_dimension(bad)
        assert repr(bad) in str(refusal.value)


TOML = """
name = "mine"
width = 384
dimensions = [384, 128, 64]
pooling = "cls"
limit = 512
appended = [102]
source = "me/mine-{task}"
backend = "onnx"
license = "MIT"
note = "café"

[prompts.retrieval]
query = "query: "
document = "passage: "

[prompts.text-matching]
document = "\\tsame:\\n"

[revisions]
"me/mine-retrieval" = "abc"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "profile.toml"
    path.write_text(text, "utf-8")
    return path


def test_toml_profiles_are_read(tmp_path: Path) -> None:
    profile = ModelProfile.from_toml(write(tmp_path, TOML))
    assert profile == ModelProfile(
        name="mine",
        width=384,
        dimensions=(64, 128, 384),
        prompts={
            (Task.RETRIEVAL, Role.QUERY): "query: ",
            (Task.RETRIEVAL, Role.DOCUMENT): "passage: ",
            (Task.TEXT_MATCHING, Role.DOCUMENT): "\tsame:\n",
        },
        pooling="cls",
        limit=512,
        appended=(102,),
        source="me/mine-{task}",
        revisions={"me/mine-retrieval": "abc"},
        backend="onnx",
        license="MIT",
        note="café",
    )
    assert ModelProfile.from_json(profile.to_json()) == profile
    assert profile.repository(Task.RETRIEVAL) == "me/mine-retrieval"
    assert ModelProfile.from_toml(str(tmp_path / "profile.toml")) == profile


BAD_TOML = {
    "not TOML": ("name = ", ""),
    "empty": ("", "name"),
    "no name": ("width = 8", "name"),
    "no width": ('name = "mine"', "width"),
    "unknown field": ('name = "mine"\nwidth = 8\nwitdh = 8', "witdh"),
    "empty name": ('name = ""\nwidth = 8', "name"),
    "name of another kind": ("name = 3\nwidth = 8", "3"),
    "width zero": ('name = "mine"\nwidth = 0', "width"),
    "width negative": ('name = "mine"\nwidth = -8', "-8"),
    "width a float": ('name = "mine"\nwidth = 8.0', "8.0"),
    "width a boolean": ('name = "mine"\nwidth = true', "True"),
    "width a text": ('name = "mine"\nwidth = "8"', "'8'"),
    "limit zero": ('name = "mine"\nwidth = 8\nlimit = 0', "limit"),
    "limit a text": ('name = "mine"\nwidth = 8\nlimit = "512"', "'512'"),
    "dimension too wide": ('name = "mine"\nwidth = 8\ndimensions = [8, 16]', "16"),
    "dimension zero": ('name = "mine"\nwidth = 8\ndimensions = [0]', "0"),
    "dimensions mixed": ('name = "mine"\nwidth = 8\ndimensions = [8, "4"]', "'4'"),
    "dimensions nested": ('name = "mine"\nwidth = 8\ndimensions = [[8]]', "[8]"),
    "dimensions a number": ('name = "mine"\nwidth = 8\ndimensions = 8', "dimensions"),
    "dimensions a text": ('name = "mine"\nwidth = 8\ndimensions = "8"', "dimensions"),
    "pooling unknown": ('name = "mine"\nwidth = 8\npooling = "max"', "'max'"),
    "pooling a list": ('name = "mine"\nwidth = 8\npooling = ["mean"]', "pooling"),
    "appended a text": ('name = "mine"\nwidth = 8\nappended = ["</s>"]', "</s>"),
    "appended a number": ('name = "mine"\nwidth = 8\nappended = 2', "appended"),
    "source a number": ('name = "mine"\nwidth = 8\nsource = 1', "source"),
    "license a list": ('name = "mine"\nwidth = 8\nlicense = ["MIT"]', "license"),
    "task unknown": ('name = "mine"\nwidth = 8\ntask = "separation"', "clustering"),
    "prompts a text": ('name = "mine"\nwidth = 8\nprompts = "query: "', "prompts"),
    "prompts not by task": ('name = "mine"\nwidth = 8\n[prompts]\nquery = "query: "', "prompts"),
    "prompts of an unknown task": ('name = "mine"\nwidth = 8\n[prompts.search]\nquery = "q"', "'search'"),
    "prompts of an unknown role": ('name = "mine"\nwidth = 8\n[prompts.retrieval]\npassage = "q"', "'passage'"),
    "prompt no text": ('name = "mine"\nwidth = 8\n[prompts.retrieval]\nquery = 1', "1"),
    "revision no text": ('name = "mine"\nwidth = 8\n[revisions]\n"me/mine" = 1', "me/mine"),
    "revisions a text": ('name = "mine"\nwidth = 8\nrevisions = "main"', "revisions"),
}


@pytest.mark.parametrize(("text", "named"), BAD_TOML.values(), ids=BAD_TOML.keys())
def test_bad_profiles_are_refused_in_one_line(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidInput) as refusal:
        ModelProfile.from_toml(path)
    assert str(path) in str(refusal.value)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('name = "café"'.encode("latin-1"))
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "latin.toml"):
        with pytest.raises(InvalidInput, match="cannot read the model profile"):
            ModelProfile.from_toml(path)


BAD_FIELDS: list[dict[str, Any]] = [
    {"name": None},
    {"name": b"mine"},
    {"width": None},
    {"width": [8]},
    {"dimensions": 8},
    {"dimensions": (8, None)},
    {"dimensions": "8"},
    {"prompts": ["query: "]},
    {"prompts": {"retrieval": "query: "}},
    {"prompts": {("retrieval",): "query: "}},
    {"prompts": {("retrieval", "query"): b"query: "}},
    {"prompts": {("retrieval.query", "query"): "query: "}},
    {"prompts": None},
    {"pooling": None},
    {"limit": "512"},
    {"appended": (-1,)},
    {"source": Path("folder")},
    {"revisions": None},
    {"task": "search"},
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=str)
def test_bad_fields_are_refused_in_python_too(fields: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "mine", "width": 8} | fields
    with pytest.raises(InvalidInput) as refusal:
        ModelProfile(**given)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("values", [None, [], "mine", 3])
def test_a_profile_is_a_table(values: Any) -> None:
    with pytest.raises(JinavecError, match="table of fields"):
        ModelProfile.from_json(values)
