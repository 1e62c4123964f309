"""ServerSettings: flags, environment and a TOML file, in this order of precedence."""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic import field_serializer as serializer
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from jinavec.errors import InvalidInput, brief
from jinavec.limits import read_toml
from jinavec.models import ModelProfile, find_model
from jinavec.settings import Overflow
from jinavec.tasks import Role, Task
from jinavec_adapters.server.redaction import Redaction, hidden_texts, shown_address, shown_options

PREFIX = "JINAVEC_SERVE_"
"""Environment variables: ``JINAVEC_SERVE_PORT`` is ``port``."""


def _split(value: object) -> object:
    """Read a list from the environment: words between commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _named(values: object) -> object:
    """Take a bare name for a model."""
    if isinstance(values, str) and values.lstrip().startswith(("[", "{")):
        raise ValueError("models are names with commas between them; tables of models stand in the file of --config")
    values = _split(values)
    return [{"name": v} if isinstance(v, str) else v for v in values] if isinstance(values, list) else values  # pyright: ignore[reportUnknownVariableType]


def _task(value: Any) -> Task:
    return Task(value)


def _role(value: Any) -> Role:
    return Role(value)


OneTask = Annotated[Task, BeforeValidator(_task)]  # a function: pydantic cannot read an Enum's signature from 3.12 on
OneRole = Annotated[Role, BeforeValidator(_role)]


class ServedModel(BaseModel):
    """One model to serve; the fields are those of ``Encoder.load``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """A catalogue name, or a profile FILE.toml."""
    tasks: tuple[OneTask, ...] = ()
    """The first one counts where a request names none; empty: every task where the weights make no difference between
    them, else retrieval."""
    default_role: OneRole | None = None
    """The role of texts whose request names none; without one they are refused."""
    backend: str | None = None
    source: str = Field("", repr=False)
    revision: str = ""
    url: str = Field("", repr=False)
    served_as: str = ""
    """The model's name on the server behind ``url``."""
    options: dict[str, Any] = Field(default_factory=dict, repr=False)

    @serializer("url", "source", when_used="json")
    def _show_address(self, address: str, info: FieldSerializationInfo) -> str:
        return shown_address(address) if info.field_name == "url" or "://" in address else address

    @serializer("options", when_used="json")
    def _show_options(self, options: dict[str, Any]) -> dict[str, Any]:
        return shown_options(options)

    @property
    def secrets(self) -> list[str]:
        """What nobody shall read of the options and addresses."""
        addresses = (self.url, self.source if "://" in self.source else "")
        return list(hidden_texts(self.options, addresses))

    @property
    def accelerator(self) -> str:
        """The device, or the provider, that the model runs on; empty for the processor."""
        chosen = str(self.options.get("device") or self.options.get("provider") or "cpu")
        return "" if chosen.lower().startswith("cpu") else chosen

    @property
    def profile(self) -> ModelProfile:
        """The profile that the name stands for; raises UnknownModel or InvalidInput."""
        return ModelProfile.from_toml(self.name) if self.name.endswith(".toml") else find_model(self.name)

    def offered(self, profile: ModelProfile) -> tuple[Task, ...]:
        """Return the tasks to serve, the default one first.

        Raises:
            UnknownTask: the weights serve another task only.
        """
        if not self.tasks and profile.task is None and not profile.prompts:
            return tuple(Task)
        return tuple(dict.fromkeys(profile.check_task(task) for task in self.tasks or (None,)))


class ServerSettings(BaseSettings):
    """What ``jinavec serve`` runs with."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    models: Annotated[tuple[ServedModel, ...], NoDecode, BeforeValidator(_named)] = Field(min_length=1)
    default_role: OneRole | None = None
    """For every model that has none of its own."""
    overflow: Overflow = "error"
    """What happens to texts over the model's limit where the request does not say."""

    workers: int = Field(1, ge=1)
    """Processes, each with the models and the limits of its own; those that compute share the cores."""
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = ()
    api_keys_file: Path | None = None
    """One key a line; blank lines, and those that begin with #, are skipped."""
    no_auth: bool = False
    """Whether authentication is disabled on an address that is not loopback."""
    public_info: bool = False
    """Whether ``/ready``, ``/docs`` and ``/openapi.json`` tell of models and routes without a key, too."""

    max_body: int = Field(32 * 2**20, ge=1)
    """Bytes of a request."""
    max_inputs: int = Field(2048, ge=1)
    """Texts of a request; those of a Qdrant server, which cannot send fewer, only ``max_body`` and tokens bound."""
    max_characters: int = Field(500_000, ge=1)
    """Characters of a text."""
    max_requests: int = Field(1024, ge=1)
    """Requests under way, until their answers are read; more are answered 429."""
    max_held: int = Field(256 * 2**20, ge=1)
    """Bytes of all bodies and answers under way; more are answered 429."""
    max_connections: int = Field(2048, ge=1)
    """Open connections; more are closed at once."""
    queue_tokens: int = Field(1_000_000, ge=1)
    """Tokens that wait for one model and task; more are answered 429. Guessed at four bytes each."""
    queue_long_tokens: int = Field(262_144, ge=1)
    """Tokens of texts over 1,024 tokens, which wait apart so that short ones pass them; more are answered 503."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens of a batch; by default what keeps the backend busy."""
    max_wait: float = Field(0.005, ge=0)
    """Seconds a text waits for others while a batch runs; never when nothing runs."""
    concurrency: int = Field(2, ge=1)
    """Batches of a model and task under way."""
    timeout: float = Field(300.0, gt=0)
    """Seconds for a request, its body included."""
    receive_timeout: float = Field(60.0, gt=0)
    """Seconds in which the head of a request must come, again its body, and again its answer be read."""
    shutdown_timeout: int = Field(60, ge=0)
    """Seconds in which accepted requests may finish after SIGTERM."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take flags before the environment, and that before the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def read(cls, config: str | Path | None = None, **flags: Any) -> Self:
        """Read the settings.

        Args:
            config: a TOML file of the fields of this class.
            **flags: fields that were said on the command line.

        Raises:
            InvalidInput: a value that cannot be used; says which, and never shows a key.
        """
        config = None if config is None else os.path.expanduser(config)
        if config is not None and not Path(config).is_file():
            raise InvalidInput(f"there is no file {config!r}")
        kind = cast("type[Self]", type(cls.__name__, (cls,), {"model_config": SettingsConfigDict(toml_file=config)}))
        try:
            if config is not None:
                read_toml(config)  # refuses one without bounds, before pydantic reads it
            return kind(**flags)
        except ValidationError as error:
            raise InvalidInput("; ".join(map(_explain, error.errors(include_url=False)))) from None
        except (SettingsError, ValueError) as error:  # unreadable TOML
            raise InvalidInput(f"cannot read the settings: {error}") from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_certificate is not None and self.tls_key is not None:
            _check_tls(self.tls_certificate, self.tls_key)
        for model in self.models:
            model.offered(model.profile)
            if self.workers > 1 and model.accelerator:
                raise ValueError(
                    f"each of {self.workers} workers would load {model.name} onto the same device"
                    f" ({model.accelerator}); use one worker there"
                )
        keys = self.keys()
        if not keys and not self.no_auth and not _is_loopback(self.host):
            raise ValueError(
                f"refusing to listen on {self.host} without authentication: set API keys ({PREFIX}API_KEYS or"
                " --api-keys-file), or pass --no-auth"
            )
        if keys and self.no_auth:
            raise ValueError("api_keys and no_auth are mutually exclusive")
        return self

    def keys(self) -> tuple[str, ...]:
        """Return the API keys; empty where none is needed.

        Raises:
            ValueError: their file cannot be read or holds none.
        """
        keys = [key.get_secret_value().strip() for key in self.api_keys]
        if self.api_keys_file is not None:
            try:
                lines = self.api_keys_file.read_text("utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"cannot read {self.api_keys_file}: {type(error).__name__}") from None
            found = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
            if not found:
                raise ValueError(f"there is no key in {self.api_keys_file}")
            keys += found
        keys = [key for key in keys if key]
        for number, key in enumerate(keys, 1):
            if not (key.isascii() and key.isprintable()):
                raise ValueError(f"API key {number} of {len(keys)} cannot be sent in a header: it is not plain ASCII")
        return tuple(keys)

    @property
    def redaction(self) -> Redaction:
        """What takes keys, and the secrets of models, out of texts."""
        return Redaction([*self.keys(), *(text for model in self.models for text in model.secrets)])

    def hand_on(self) -> str:
        """Return the settings as JSON, keys and passwords included, for ``taken_over``."""

        def plain(value: object) -> object:
            return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

        return json.dumps(self.model_dump(), default=plain)

    @classmethod
    def taken_over(cls, handed: str) -> Self:
        """Return the settings that another process handed on."""
        return cls(**json.loads(handed))

    def effective(self) -> Mapping[str, Any]:
        """Return the settings as plain values, without secrets."""
        return self.model_dump(mode="json") | {"api_keys": f"{len(self.keys())} keys, not shown"}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_tls(certificate: Path, key: Path) -> None:
    """Make sure that a server can use both files.

    Raises:
        ValueError: it cannot; names the file.
    """
    for file in (certificate, key):
        try:
            file.open("rb").close()
        except OSError as error:
            raise ValueError(f"cannot read the TLS file {file}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise ValueError(f"{certificate} holds no PEM certificate: {error.reason or error}") from None
    try:
        context.load_cert_chain(certificate, key, password="")  # asked for none, OpenSSL would ask the terminal
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{key} holds no PEM key, without a password, of the certificate {certificate}: {reason}"
        ) from None


def _explain(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"there is no such setting; there are: {', '.join(ServerSettings.model_fields)}"
    return f"{place}: {message}" if place else brief(message)[1:-1] if len(message) > 2000 else message
