"""Pooling: from the vectors of tokens to one of the text, and what a sentence-transformers folder says about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinavec.backends.local.errors import model_errors
from jinavec.errors import ModelError
from jinavec.models import ModelProfile

APPLIED = {"Transformer", "Pooling", "Normalize"}
"""Modules of sentence-transformers whose work is done here; the encoder normalises."""
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


def check_modules(folder: Path, profile: ModelProfile) -> None:
    """Refuse a sentence-transformers folder that does more, or pools otherwise, than is done here.

    Raises:
        ModelError: modules.json names a module that is not applied, or another pooling than the profile's.
    """
    with model_errors(f"cannot read the modules of {folder}"):
        for module in _read(folder / "modules.json", []):
            kind = str(module["type"]).rpartition(".")[2]
            if kind not in APPLIED:
                raise ModelError(f"{folder} has a {kind} module, which is not applied here: its vectors would be wrong")
            if kind == "Pooling":
                _check_pooling(folder, _read(folder / module["path"] / "config.json", {}), profile)


def _check_pooling(folder: Path, config: dict[str, Any], profile: ModelProfile) -> None:
    modes = config.get("pooling_mode") or [
        LEGACY.get(name.removeprefix("pooling_mode_"), name)
        for name, on in config.items()
        if name.startswith("pooling_mode_") and on
    ]
    mode = modes if isinstance(modes, str) else "+".join(modes)
    if mode and POOLINGS.get(mode) != profile.pooling:
        raise ModelError(f"{folder} pools by {mode!r}, but the profile of {profile.name} says {profile.pooling!r}")
    if profile.pooling == "mean" and profile.prompts and config.get("include_prompt") is False:
        raise ModelError(f"{folder} leaves the prompt out of its mean, which is not done here")


def _read(path: Path, missing: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else missing
