from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from jinavec import EncoderArguments, EncoderSettings, Task
from jinavec.errors import InvalidInput
from jinavec.models import CATALOGUE, find_model
from jinavec.settings import SettingsArguments

SETTINGS = EncoderSettings(
    profile=find_model("jina-embeddings-v5-text-nano"),
    task=Task.CLUSTERING,
    dimension=256,
    backend="onnx",
    source="../weights",
    revision="abc",
    overflow="error",
    served_as="nano",
    options={"threads": 2, "file": None},
)


def test_every_argument_but_the_key_is_a_setting() -> None:
    settings = {field.name for field in dataclasses.fields(EncoderSettings)}
    assert settings == {"profile", *SettingsArguments.__annotations__}
    assert EncoderArguments.__annotations__.keys() == SettingsArguments.__annotations__.keys() | {"api_key"}


@pytest.mark.parametrize("profile", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_settings_survive_json_with_any_profile(profile: Any) -> None:
    settings = dataclasses.replace(SETTINGS, profile=profile)
    assert EncoderSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_every_field_is_written_and_relative_paths_stay_relative() -> None:
    values = SETTINGS.to_json()
    assert set(values) == {field.name for field in dataclasses.fields(EncoderSettings)}
    assert values["source"] == "../weights"


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("", ""),
        ("https://host:8080/v1", "https://host:8080/v1"),
        ("https://user:secret@host:8080/v1", "https://host:8080/v1"),
        ("https://secret@host", "https://host"),
        ("https://user:sec@ret@host/v1", "https://host/v1"),
        ("user:secret@host:8080/v1", "host:8080/v1"),
        ("https://host/@scope/name", "https://host/@scope/name"),
        ("https://host/v1?to=a@b", "https://host/v1?to=a@b"),
        ("https://host/a//b@c", "https://host/a//b@c"),
    ],
)
def test_user_names_and_passwords_are_never_written(url: str, written: str) -> None:
    settings = dataclasses.replace(SETTINGS, url=url)
    assert settings.url == url
    assert settings.to_json()["url"] == written
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "change",
    [
        {"profile": None},
        {"profile": {"name": "mine"}},
        {"task": "separation"},
        {"api_key": "sk-secret"},
    ],
    ids=str,
)
def test_bad_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="not encoder settings") as refusal:
        EncoderSettings.from_json(SETTINGS.to_json() | change)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("missing", ["profile", "task", "dimension", "backend"])
def test_settings_that_lack_something_are_refused(missing: str) -> None:
    values = SETTINGS.to_json()
    del values[missing]
    with pytest.raises(InvalidInput, match=missing):
        EncoderSettings.from_json(values)


@pytest.mark.parametrize("values", [None, [], "settings", 3])
def test_what_are_no_settings_is_refused(values: Any) -> None:
    with pytest.raises(InvalidInput, match="not encoder settings"):
        EncoderSettings.from_json(values)


@pytest.mark.parametrize(
    ("change", "key", "named"),
    [({"url": "https://host"}, None, "url"), ({}, "sk-secret", "api_key"), ({"served_as": "nano"}, None, "served_as")],
)
def test_a_local_backend_refuses_what_only_a_server_can_use(
    change: dict[str, str], key: str | None, named: str
) -> None:
    local = dataclasses.replace(SETTINGS, served_as="")
    local.check_local(None)
    with pytest.raises(InvalidInput, match=f"'onnx'.*no {named}") as refusal:
        dataclasses.replace(local, **change).check_local(key)
    assert "secret" not in str(refusal.value)
