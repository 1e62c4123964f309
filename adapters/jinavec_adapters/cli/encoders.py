"""From the flags, and what an index remembers, to the encoder to use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jinavec import Contract, Encoder, EncoderSettings, ModelProfile, Task, open_engine, plugins
from jinavec.encoder import BACKENDS
from jinavec.errors import IndexNotFound
from jinavec.models import find_model
from jinavec_adapters.cli.flags import EncoderFlags
from jinavec_adapters.cli.usage import UsageError, read_pairs, usage_errors

DEFAULT_MODEL = "lexical"


@dataclass(frozen=True)
class Existing:
    """What an index says about its vectors."""

    contract: Contract
    settings: EncoderSettings | None


def find_existing(target: str) -> Existing | None:
    """Return what the index at a target says about its vectors, or None where there is no index."""
    try:
        with open_engine(target) as engine:
            return Existing(engine.contract, engine.settings)
    except IndexNotFound:
        return None


def choose_settings(asked: EncoderFlags, existing: Existing | None = None) -> EncoderSettings:
    """Return the settings of the encoder: each flag given, else what the index remembers, else the default.

    Another backend starts from its own address and options, another model from its own weights too.

    Raises:
        UsageError, UnknownModel, UnknownTask, InvalidDimension: a flag that cannot be used.
        ContractMismatch: the flags ask for other vectors than the index holds.
    """
    profile = _profile(asked, existing)
    settings = replace(
        _start(profile, asked, existing),
        task=_task(profile, asked, existing),
        dimension=_dimension(profile, asked, existing),
    )
    if existing is not None:
        existing.contract.check(contract_of(settings), theirs="what was asked for")
    return _with_flags(settings, asked)


def contract_of(settings: EncoderSettings) -> Contract:
    """Return the contract of the vectors that an encoder of these settings makes."""
    return Contract.of(settings.profile, settings.task, settings.dimension)


def load(settings: EncoderSettings) -> Encoder:
    """Load the encoder that settings describe; settings that contradict each other are a usage error.

    Raises:
        UsageError, MissingExtra, ModelError: as ``Encoder.load``.
    """
    with usage_errors():
        return Encoder.from_settings(settings)


def _profile(asked: EncoderFlags, existing: Existing | None) -> ModelProfile:
    if asked.profile is not None:
        with usage_errors("--profile"):
            profile = ModelProfile.from_toml(asked.profile)
        if asked.model not in (None, profile.name):
            raise UsageError(f"--model names {asked.model!r}, but the profile in {asked.profile} is {profile.name!r}")
        return profile
    remembered = existing.settings.profile if existing and existing.settings else None
    if remembered is not None and (asked.model is None or asked.model.removeprefix("jinaai/") == remembered.name):
        return remembered
    return find_model(asked.model or (existing.contract.model if existing else DEFAULT_MODEL))


def _start(profile: ModelProfile, asked: EncoderFlags, existing: Existing | None) -> EncoderSettings:
    """Return the settings before flags: those remembered, as far as model and backend are the same."""
    remembered = existing.settings if existing else None
    if remembered is None or remembered.profile != profile:
        return EncoderSettings(profile=profile, task=Task.RETRIEVAL, dimension=profile.width, backend="")
    if asked.backend not in (None, remembered.backend):
        return replace(remembered, backend="", url="", served_as="", options={})
    return remembered


def _task(profile: ModelProfile, asked: EncoderFlags, existing: Existing | None) -> Task:
    return profile.check_task(asked.task or profile.task or (existing.contract.task if existing else None))


def _dimension(profile: ModelProfile, asked: EncoderFlags, existing: Existing | None) -> int:
    if asked.dimension is None and existing is not None and existing.contract.dimension in profile.dimensions:
        return existing.contract.dimension
    return profile.check_dimension(asked.dimension)


def _with_flags(settings: EncoderSettings, asked: EncoderFlags) -> EncoderSettings:
    backend = asked.backend or settings.backend or settings.profile.backend
    known = plugins.names(plugins.BACKENDS, BACKENDS)
    if backend and backend not in known:
        raise UsageError(f"unknown backend {backend!r}; known: {', '.join(known)}")
    return replace(
        settings,
        backend=backend,
        source=settings.source if asked.source is None else asked.source,
        revision=settings.revision if asked.revision is None else asked.revision,
        overflow=asked.overflow or settings.overflow,
        url=settings.url if asked.url is None else asked.url,
        served_as=settings.served_as if asked.served_as is None else asked.served_as,
        options={**settings.options, **read_pairs("--backend-option", asked.backend_option)},
    )
