"""Backbones: transformers' own classes and peft's adapters, loaded without remote code."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from jinavec.backends.local.errors import model_errors
from jinavec.backends.local.quiet import quiet
from jinavec.backends.local.weights import Weights, read_json
from jinavec.errors import ModelError, warn
from jinavec.extras import require

NOT_FIELDS = {
    *("architectures", "auto_map", "dtype", "model_type", "torch_dtype", "transformers_version"),
    *("attn_implementation", "_attn_implementation"),
}
"""Entries of a config.json that say whose it is and how it was run, not what the model is."""


def load_backbone(weights: Weights, dtype: str) -> Any:
    """Load the transformer of a folder, ready for inference, without any adapter.

    Args:
        weights: config.json and safetensors files in the hub's layout.
        dtype: torch's name of the type to compute in, whatever the files hold.

    Raises:
        ModelError: files missing or damaged, an architecture that transformers does not have, or tensors missing:
            transformers would draw them at random.
    """
    transformers: Any = require("transformers", "torch")
    torch: Any = require("torch", "torch")
    config_file = weights.file("config.json")
    kind, config = transformers.AutoModel, None
    if _is_v5(found := _read_config(config_file)):
        kind, config = _v5_class(transformers, weights.folder, found)
    with model_errors(f"cannot load the model in {weights.folder}"), quiet("transformers"), _without_bars(transformers):
        if config is None:
            config = transformers.AutoConfig.from_pretrained(
                str(weights.folder), trust_remote_code=False, local_files_only=True
            )
        model, loaded = kind.from_pretrained(
            str(weights.folder),
            config=config,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            attn_implementation="eager",  # which every model has; what the config names may not be installed
        )
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(f"the weights in {weights.folder} lack {len(missing)} tensors, such as {missing[0]}")
    _attend_in_one(model, weights.folder)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # no text is continued here
    return model.eval().requires_grad_(False)


def _attend_in_one(model: Any, folder: Path) -> None:
    """Use torch's own attention, whose memory grows with the length of a text alone, whatever the config names.

    Without it transformers would go on in plain operators, and say nothing.
    """
    if model._supports_sdpa:
        model.set_attn_implementation("sdpa")
    else:
        warn(
            f"transformers has no fused attention for the {type(model).__name__} in {folder}: the memory of a text"
            " grows with the square of its length"
        )


def _read_config(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object")
    return cast("dict[str, Any]", found)


def _is_v5(found: dict[str, Any]) -> bool:
    names = f"{found.get('model_type')} {found.get('architectures')}".replace("_", "").lower()
    return "jinaembeddingsv5" in names


def _v5_class(transformers: Any, folder: Path, found: dict[str, Any]) -> tuple[Any, Any]:
    """Return what stands behind the vendor's name for both sizes, by the tensors: only Qwen3 normalizes its queries."""
    fields = {name: value for name, value in found.items() if name not in NOT_FIELDS}
    is_qwen = any(name.endswith("q_norm.weight") for name in _tensor_names(folder))
    kind = "Qwen3" if is_qwen else "EuroBert"
    with model_errors(f"cannot load the model in {folder}"):
        return getattr(transformers, f"{kind}Model"), getattr(transformers, f"{kind}Config")(**fields)


def _tensor_names(folder: Path) -> list[str]:
    safetensors: Any = require("safetensors", "torch")
    names: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with model_errors(f"cannot read {path}"), safetensors.safe_open(str(path), "np") as file:
            names += file.keys()
    return names


def has_adapters(folder: Path) -> bool:
    """Return whether a folder is a base repository: one backbone, an adapter for each task.

    Raises:
        ModelError: config.json says that it is one, but the adapters are not there: the bare backbone serves no task.
    """
    found = (folder / "adapters").is_dir()
    if not found and is_base(folder):
        raise ModelError(
            f"{folder} is a base repository without its folder adapters, whose weights serve no task: download it"
            " whole, or take the weights of one task"
        )
    return found


def is_base(folder: Path) -> bool:
    """Return whether config.json says that a folder is a base repository of jina-embeddings-v5."""
    return _is_v5(_read_config(folder / "config.json"))


def adapted(model: Any, folder: Path, task: str) -> Any:
    """Put a task's adapter into a model, in place.

    Raises:
        ModelError: there is no such adapter, or it does not fit: peft would go on without it.
    """
    adapter = folder / "adapters" / task
    if not adapter.is_dir():
        offered = ", ".join(sorted(path.name for path in adapter.parent.iterdir()))
        raise ModelError(f"there is no adapter for {task} in {folder}; there are: {offered}")
    files = Weights(adapter)
    config_file, tensor_file = files.file("adapter_config.json"), files.file("adapter_model.safetensors")
    peft: Any = require("peft", "torch")
    safetensors: Any = require("safetensors.torch", "torch")
    with model_errors(f"cannot load the adapter in {adapter}"):
        config = peft.PeftConfig.from_json_file(str(config_file))
        peft.inject_adapter_in_model(peft.get_peft_config(config), model)
        tensors = safetensors.load_file(str(tensor_file))
        result = peft.set_peft_model_state_dict(model, tensors)
    odd = [*result.unexpected_keys, *(name for name in result.missing_keys if ".lora_" in name)]
    if odd:
        raise ModelError(f"the adapter in {adapter} does not fit the model: {len(odd)} tensors, such as {odd[0]}")
    return model.eval().requires_grad_(False)


def twin(model: Any) -> Any:
    """Copy the structure of a model and share its tensors, so that each copy can carry an adapter of its own.

    Adapters of one shared structure are switched for all threads at once.
    """
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


@contextmanager
def _without_bars(transformers: Any) -> Generator[None]:
    """Keep transformers from drawing progress bars of its own."""
    log = transformers.utils.logging
    bars = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            log.enable_progress_bar()
