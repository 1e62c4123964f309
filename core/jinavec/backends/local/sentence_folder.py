"""The files that make a folder of weights one that sentence-transformers, fastembed and TEI can load as well.

They say there what a profile says here: which prefix a role has, how tokens are pooled, how long a text may be.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

from jinavec.backends.local.pooling import LEGACY, POOLINGS
from jinavec.backends.local.weights import read_json
from jinavec.models import ModelProfile
from jinavec.tasks import Role, Task, prompt

COPIED = ("tokenizer.json", "special_tokens_map.json")
MODULES = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")


def write_sentence_files(folder: Path, source: Path, profile: ModelProfile, task: Task) -> None:
    """Write tokenizer, modules, pooling and prompts.

    Args:
        folder: where to; config.json and the weights are whoever else's.
        source: the folder of the weights as they came, with their tokenizer.
        profile: whose prompts, pooling and limit.
        task: whose prompts.
    """
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    tokenizer = _tokenizer_config(source, profile)
    _write(folder / "tokenizer_config.json", tokenizer)
    if not (folder / "special_tokens_map.json").is_file():  # transformers no longer writes it, fastembed once needed it
        tokens = {name: value for name, value in tokenizer.items() if name.endswith("_token") and _is_token(value)}
        _write(folder / "special_tokens_map.json", tokens)
    for _, place in MODULES:
        (folder / place).mkdir(exist_ok=True)
    _write(folder / "modules.json", _modules())
    _write(folder / "1_Pooling" / "config.json", _pooling_config(profile))
    prompts = {role.value: prompt(task, role, profile) for role in Role}
    default = Role.DOCUMENT.value if any(prompts.values()) else None
    said: dict[str, Any] = {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": "cosine"}
    _write(folder / "config_sentence_transformers.json", said)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": profile.limit, "do_lower_case": False})


def _tokenizer_config(source: Path, profile: ModelProfile) -> dict[str, Any]:
    """Return what came with the weights, and the profile's limit where nobody else reads one: nano's says 10**30."""
    path = source / "tokenizer_config.json"
    given = cast("dict[str, Any]", read_json(path)) if path.is_file() else dict[str, Any]()
    return given if profile.limit is None else given | {"model_max_length": profile.limit}


def _is_token(value: object) -> bool:
    return isinstance(value, (str, dict))


def _modules() -> list[dict[str, Any]]:
    kinds = [(f"sentence_transformers.models.{kind}", place) for kind, place in MODULES]
    return [{"idx": n, "name": str(n), "path": place, "type": kind} for n, (kind, place) in enumerate(kinds)]


def _pooling_config(profile: ModelProfile) -> dict[str, Any]:
    modes = {f"pooling_mode_{mode}": POOLINGS[name] == profile.pooling for mode, name in LEGACY.items()}
    return {"word_embedding_dimension": profile.width, "include_prompt": True, **modes}


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False), "utf-8")
