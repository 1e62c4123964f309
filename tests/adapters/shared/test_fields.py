from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pydantic")

from pydantic import ValidationError
from tests.support.two_roles import TWO_ROLES

from jinavec import Encoder
from jinavec.settings import SettingsArguments
from jinavec_adapters.shared.fields import EncoderFields, Profile


class Fields(EncoderFields):
    """As an adapter derives from them."""

    model: str | Profile

    def _load(self) -> Encoder:
        return Encoder.load(self.model, **self.arguments)


def test_the_fields_are_the_arguments_but_the_key() -> None:
    assert list(EncoderFields.model_fields) == list(SettingsArguments.__annotations__)


def test_the_encoder_is_loaded_once_with_what_the_fields_say() -> None:
    fields = Fields(model=TWO_ROLES, task="clustering", dimension=64, overflow="error")
    assert fields.encoder is fields.encoder
    wanted = Encoder.load(TWO_ROLES, task="clustering", dimension=64, overflow="error")
    assert fields.encoder.settings == wanted.settings
    assert fields.contract == wanted.contract


def test_fields_are_written_as_plain_values_without_secrets() -> None:
    fields = Fields(
        model=TWO_ROLES,
        source=Path("a") / "b",
        url="http://me:s3cret@host/v1",
        options={"threads": 2, "client": object()},
    )
    written = json.loads(fields.model_dump_json())
    assert "s3cret" not in repr(fields) + str(written)
    assert written["url"] == "http://host/v1"
    assert written["source"] == str(Path("a") / "b")
    assert written["options"] == {"threads": 2}
    assert fields.arguments.get("url") == "http://me:s3cret@host/v1"
    assert Fields(**written).model == TWO_ROLES


def test_fields_cannot_change_under_the_encoder() -> None:
    fields = Fields(model="lexical", dimension=64)
    for name in EncoderFields.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(fields, name, None)
