"""How an encoder is loaded: the arguments a caller gives, and the settings they become, which an index remembers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from jinavec.errors import InvalidInput, InvalidType
from jinavec.models import ModelProfile
from jinavec.options import SECRET_OPTION, plain
from jinavec.tasks import Task

Overflow = Literal["truncate", "error"]
"""What happens to texts over the token limit."""


class SettingsArguments(TypedDict, total=False):
    """The arguments of ``Encoder.load`` that become ``EncoderSettings``: all but the key.

    Each may be left out, or None, for its default.
    """

    task: Task | str | None
    """retrieval, text-matching, clustering or classification; by default the one in a merged name, else retrieval."""
    dimension: int | None
    """One of the model's Matryoshka dimensions; its full width by default."""
    backend: str | None
    """What runs the model: one of ``jinavec.encoder.BACKENDS``, or the name of another distribution's. By default the
    profile's own, else onnx or torch, whichever is installed."""
    source: str | Path | None
    """A folder or hub name of the weights; the profile's by default."""
    revision: str | None
    """The revision of the weights; by default the one the profile pins."""
    overflow: Overflow | None
    """What to do with texts over the token limit: truncate or error. By default a backend in this process truncates
    with a warning, and a server, whose truncation nobody sees, is told to refuse."""
    url: str | None
    """Address of a server, for remote backends; some have one by default."""
    served_as: str | None
    """The served model name: what that server calls the model."""
    options: object
    """The backend's own options: its dataclass, or a mapping of names to values."""


class EncoderArguments(SettingsArguments, total=False):
    """The arguments of ``Encoder.load`` beside the model."""

    api_key: str | None
    """Key of the server, never stored. By default that of the environment for this address: JINA_API_KEY,
    OPENAI_API_KEY, COHERE_API_KEY for the vendor's own, JINAVEC_API_KEY for any other."""


def check_arguments(arguments: Mapping[str, object]) -> None:
    """Refuse names that are no arguments of ``Encoder.load``.

    Raises:
        InvalidType: an unknown name; the message lists the known ones.
    """
    known = EncoderArguments.__annotations__
    for name in arguments:
        if name not in known:
            raise InvalidType(f"unknown argument {name!r}; Encoder.load takes model, {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Everything ``Encoder.load`` was told, defaults filled in, but never a key.

    Attributes:
        profile: The model.
        task: What the vectors are for.
        dimension: Components of a vector.
        backend: What runs the model.
        source: Folder or hub name of the weights; a relative path stays relative. Empty: the profile's own.
        revision: Revision of the weights; empty: the one that the profile pins.
        overflow: What to do with texts over the token limit, truncate or error; None leaves it to the backend.
        url: Address of a server. Not in the repr, since it may carry a user name and password.
        served_as: What that server calls the model; empty: its own name.
        options: The backend's own options by name.
    """

    profile: ModelProfile
    task: Task
    dimension: int
    backend: str
    source: str = ""
    revision: str = ""
    overflow: Overflow | None = None
    url: str = field(default="", repr=False)
    served_as: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def check_local(self, api_key: str | None) -> None:
        """Refuse a server's address or key, for a backend that runs in this process.

        Raises:
            InvalidInput: one was given.
        """
        for name, value in (("url", self.url), ("api_key", api_key), ("served_as", self.served_as)):
            if value:
                raise InvalidInput(f"backend {self.backend!r} runs in this process and takes no {name}")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, without user names and passwords in the URL."""
        values = cast("SettingsArguments", {name: getattr(self, name) for name in SettingsArguments.__annotations__})
        return {"profile": self.profile.to_json(), **written_arguments(values)}

    @classmethod
    def from_json(cls, values: object) -> EncoderSettings:
        """Read settings back.

        Raises:
            InvalidInput: not encoder settings.
        """
        try:
            given = dict(cast("Mapping[str, Any]", values))
            profile, task = ModelProfile.from_json(given.pop("profile")), Task(given.pop("task"))
            return cls(profile=profile, task=task, **given)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not encoder settings: {error}") from error


def written_arguments(arguments: SettingsArguments) -> dict[str, Any]:
    """Return arguments as plain JSON values; ``Encoder.load`` takes them again.

    Left out are user name and password in the URL, and options that cannot be written.
    """
    written: dict[str, Any] = {
        name: str(value) if isinstance(value, (Task, Path)) else value for name, value in arguments.items()
    }
    if written.get("url"):
        written["url"] = without_user(written["url"])
    if written.get("options") is not None:
        written["options"] = written_options(plain(written["options"]))
    return written


def written_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that can be written as JSON; client objects cannot, and headers may hold a key."""
    return {name: value for name, value in options.items() if name != SECRET_OPTION and _is_plain(value)}


def without_user(url: str) -> str:
    """Return an address without user name and password."""
    return re.sub(r"^([^/?#]*//)?[^/?#]*@", r"\1", url)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, tuple, Mapping))
