"""An encoder, or the arguments that load one: what several adapters take as their first argument."""

from __future__ import annotations

from typing import Unpack

from jinavec import Encoder, EncoderArguments, ModelProfile
from jinavec.errors import InvalidInput
from jinavec.settings import check_arguments


def given_encoder(model: str | ModelProfile | Encoder, **arguments: Unpack[EncoderArguments]) -> Encoder:
    """Return the encoder that is given, or load the model with the arguments of ``Encoder.load``.

    Raises:
        InvalidInput: an encoder, and arguments that would choose its model again.
        InvalidType: an unknown argument.
        JinavecError: what ``Encoder.load`` refuses.
    """
    if not isinstance(model, Encoder):
        return Encoder.load(model, **arguments)
    check_arguments(arguments)
    for name, value in arguments.items():
        if value is not None:
            raise InvalidInput(f"an encoder is given, so its {name} cannot be chosen again")
    return model
