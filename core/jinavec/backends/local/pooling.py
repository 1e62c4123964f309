"""Pooling: from the vectors of tokens to one of the text, and what a sentence-transformers folder says about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from jinavec.backends.local.weights import read_json
from jinavec.errors import ModelError, brief
from jinavec.models import ModelProfile

APPLIED = {"Transformer", "Pooling", "Normalize"}
"""Modules of sentence-transformers whose work is done here; the encoder normalizes."""
POOLINGS = {"lasttoken": "last", "mean": "mean", "cls": "cls"}
LEGACY = {"lasttoken": "lasttoken", "mean_tokens": "mean", "cls_token": "cls"}


def pool(library: Any, hidden: Any, mask: Any, pooling: str) -> Any:
    """Pool token vectors; right for padding on either side.

    Args:
        library: numpy or torch, whichever the arrays are of.
        hidden: (texts, longest, width)
        mask: (texts, longest), 1 for a token and 0 for padding; each row has at least one token.
        pooling: last, mean or cls.

    Returns:
        (texts, width)
    """
    if pooling == "mean":
        return (hidden * mask[..., None]).sum(1) / mask.sum(1)[..., None]
    place = mask.argmax(1) if pooling == "cls" else (mask.cumsum(1) * mask).argmax(1)
    return hidden[library.arange(mask.shape[0]), place]


def check_modules(folder: Path, profile: ModelProfile, *, applied: bool = True) -> None:
    """Refuse a sentence-transformers folder that does more, or pools otherwise, than is done here.

    Args:
        folder: the folder.
        profile: what is done here.
        applied: whether its modules are done here; else a graph does them itself, and only its pooling is compared.

    Raises:
        ModelError: modules.json names a module that is not applied, or another pooling than the profile's.
    """
    path = folder / "modules.json"
    modules = read_json(path) if path.is_file() else list[object]()
    if not isinstance(modules, list):
        raise ModelError(f"{path} holds no list of modules")
    for module in cast("list[object]", modules):
        kind, config = _read_module(folder, module)
        if applied and kind not in APPLIED:
            raise ModelError(f"{folder} has a {kind} module, which is not applied here: its vectors would be wrong")
        if kind == "Pooling":
            _check_pooling(folder, config, profile)


def _read_module(folder: Path, module: object) -> tuple[str, dict[str, Any]]:
    """Return the class of a module, and its configuration; empty where it has none."""
    match module:
        case {"type": str(kind), "path": str(place)}:
            path = folder / place / "config.json"
            config = read_json(path) if path.is_file() else dict[str, Any]()
            if isinstance(config, dict):
                return kind.rpartition(".")[2], cast("dict[str, Any]", config)
            raise ModelError(f"{path} holds no JSON object")
        case _:
            raise ModelError(f"{folder / 'modules.json'} has a module without type and path: {brief(module)}")


def _check_pooling(folder: Path, config: dict[str, Any], profile: ModelProfile) -> None:
    modes: object = config.get("pooling_mode") or [
        LEGACY.get(name.removeprefix("pooling_mode_"), name)
        for name, on in config.items()
        if name.startswith("pooling_mode_") and on
    ]
    mode = "+".join(map(str, cast("list[object]", modes))) if isinstance(modes, list) else str(modes)
    if mode and POOLINGS.get(mode) != profile.pooling:
        raise ModelError(f"{folder} pools by {mode!r}, but the profile of {profile.name} says {profile.pooling!r}")
    if profile.pooling == "mean" and profile.prompts and config.get("include_prompt") is False:
        raise ModelError(f"{folder} leaves the prompt out of its mean, which is not done here")
