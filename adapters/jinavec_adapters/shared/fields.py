"""EncoderFields: the arguments of ``Encoder.load`` as pydantic fields, and the encoder that they load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, cast

from jinavec import Contract, Encoder, ModelProfile
from jinavec.extras import require
from jinavec.options import plain
from jinavec.settings import Overflow, SettingsArguments, without_user, written_options

require("pydantic", "langchain")  # the frameworks whose adapters import this bring it
from pydantic import BaseModel, BeforeValidator, Field, InstanceOf, PlainSerializer, PrivateAttr  # noqa: E402

_LOADING = Lock()


def _read_profile(value: object) -> object:
    return ModelProfile.from_json(cast("object", value)) if isinstance(value, dict) else value


Profile = Annotated[InstanceOf[ModelProfile], BeforeValidator(_read_profile), PlainSerializer(ModelProfile.to_json)]
"""A ``ModelProfile``, or its values as ``to_json`` gives them, which is how it is written."""
Source = Annotated[str | Path, PlainSerializer(str)]
Address = Annotated[str, PlainSerializer(without_user)]
Options = Annotated[Any, PlainSerializer(lambda options: None if options is None else written_options(plain(options)))]


class EncoderFields(BaseModel):
    """The arguments of ``Encoder.load`` beside model and key, which each framework names and hides in its own way.

    ``jinavec.EncoderArguments`` describes them. They decide every vector, so none can be changed, all are public (the
    frameworks make the keys of their caches from public fields), and all are written as plain JSON values: an address
    without user name and password, options without client objects.
    """

    task: str | None = Field(default=None, frozen=True)
    dimension: int | None = Field(default=None, frozen=True)
    backend: str | None = Field(default=None, frozen=True)
    source: Source | None = Field(default=None, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    overflow: Overflow | None = Field(default=None, frozen=True)
    url: Address | None = Field(default=None, frozen=True, repr=False)
    served_as: str | None = Field(default=None, frozen=True)
    options: Options = Field(default=None, frozen=True)

    _encoder: Encoder | None = PrivateAttr(default=None)

    @property
    def encoder(self) -> Encoder:
        """The encoder beneath; loaded when it is first needed, where it is not there yet."""
        if self._encoder is None:
            with _LOADING:
                self._encoder = self._encoder or self._load()
        return self._encoder

    @property
    def contract(self) -> Contract:
        """The contract of every vector."""
        return self.encoder.contract

    @property
    def arguments(self) -> SettingsArguments:
        """The arguments of ``Encoder.load`` beside model and key."""
        values = {name: getattr(self, name) for name in EncoderFields.model_fields}
        return cast("SettingsArguments", values)

    async def _aencoder(self) -> Encoder:
        """Return the encoder without blocking the event loop while it loads."""
        return self._encoder or await asyncio.to_thread(lambda: self.encoder)

    def _load(self) -> Encoder:
        """Load the encoder: ``Encoder.load`` with the model, the key and ``arguments``."""
        raise NotImplementedError
