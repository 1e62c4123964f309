"""Tiny Qwen3 and EuroBERT models of random weights in the layout of the vendor's repositories, and their oracle.

A base repository names remote code (which records that it ran, and fails), carries four LoRA adapters in peft's format,
and stores bfloat16 weights, as the real ones do. A merged sibling has one adapter folded in.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .tiny_tokenizers import SPECIAL, TASKS, VOCABULARY, WIDTH, Kind, save_tokenizer, special_id, token_ids
from .tiny_tokenizers import write_json as write

Float32 = NDArray[np.float32]
LAYERS, HEADS, INNER = 3, 4, 96
RANK, ALPHA = 4, 8
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
THETA: dict[Kind, float] = {"small": 3_500_000, "nano": 1_000_000}
REMOTE_CODE_RAN = "jinavec_test_remote_code_ran"
REMOTE_CODE = f"""import builtins
builtins.{REMOTE_CODE_RAN} = __file__
raise RuntimeError("remote code was executed")
"""


class TinyFamily:
    """One base repository, its merged siblings, and the vectors they must give."""

    def __init__(self, kind: Kind, root: Path, heads: int = HEADS) -> None:
        self.kind: Kind = kind
        self.heads = heads
        self.torch: Any = pytest.importorskip("torch")
        self.transformers: Any = pytest.importorskip("transformers")
        self.root = root
        self.base = root / "base"
        generator = self.torch.Generator().manual_seed(11)
        self.weights = self._random_weights(generator)
        self.adapters = {task: self._random_adapter(generator) for task in TASKS}
        self._known: dict[int, tuple[Any, dict[tuple[int, ...], Any]]] = {}
        """What each backbone gave, so that an oracle computes a text once."""
        self.oracles = {task: self.backbone(self.fold(task)) for task in TASKS}
        self._save_base(self.base)
        for task in TASKS:
            self.save_merged(self.merged(task), task)

    def merged(self, task: str) -> Path:
        """Return the folder of the sibling that serves one task."""
        return self.root / f"merged-{task}"

    def vectors(
        self, texts: Sequence[str], task: str, *, dimension: int = WIDTH, limit: int | None = None, oracle: Any = None
    ) -> Float32:
        """Oracle: unit vectors of texts that already carry their prefix, each computed alone and unpadded.

        The vendor's order (remote code of the base repository): forward, last token, slice, normalise.

        Args:
            texts: with their prefix.
            task: whose adapter.
            dimension: components kept before normalising.
            limit: the most tokens.
            oracle: another backbone than the one with the task's adapter folded in.
        """
        torch = self.torch
        rows = [self._last(text, limit, self.oracles[task] if oracle is None else oracle) for text in texts]
        return torch.nn.functional.normalize(torch.stack(rows)[:, :dimension], dim=-1).numpy()

    def _last(self, text: str, limit: int | None, backbone: Any) -> Any:
        ids = tuple(token_ids(self.base, text, limit))
        known = self._known.setdefault(id(backbone), (backbone, {}))[1]
        if ids not in known:
            row = self.torch.tensor([ids])
            with self.torch.no_grad():
                known[ids] = backbone(input_ids=row, attention_mask=self.torch.ones_like(row)).last_hidden_state[0, -1]
        return known[ids]

    def save_merged(
        self,
        folder: Path,
        task: str,
        *,
        side: str | None = None,
        appends: bool | None = None,
        dtype: str = "float32",
    ) -> Path:
        """Write a repository of one task, as sentence-transformers reads it; return its folder."""
        self._save_common(folder, side=side, appends=appends)
        write(folder / "config.json", self._config(merged=True) | {"torch_dtype": dtype})
        modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
        write(
            folder / "modules.json",
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
                for i, (path, name) in enumerate(modules)
            ],
        )
        modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
        pooling: dict[str, Any] = {f"pooling_mode_{mode}": mode == "lasttoken" for mode in modes}
        (folder / "1_Pooling").mkdir()
        (folder / "2_Normalize").mkdir()
        write(
            folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, "include_prompt": True} | pooling
        )
        folded = {name: weight.to(getattr(self.torch, dtype)) for name, weight in self.fold(task).items()}
        self.save_tensors(folder / "model.safetensors", folded)
        return folder

    def _save_base(self, folder: Path) -> None:
        torch = self.torch
        self._save_common(folder)
        write(folder / "config.json", self._config(merged=False))
        write(
            folder / "modules.json",
            [{"idx": 0, "name": "transformer", "path": "", "type": "custom_st.Transformer", "kwargs": ["task"]}],
        )
        self.save_tensors(folder / "model.safetensors", {n: w.to(torch.bfloat16) for n, w in self.weights.items()})
        for task, adapter in self.adapters.items():
            where = folder / "adapters" / task
            where.mkdir(parents=True)
            write(where / "adapter_config.json", self._adapter_config())
            tensors = {f"base_model.model.{name}.weight": w.to(torch.bfloat16) for name, w in adapter.items()}
            self.save_tensors(where / "adapter_model.safetensors", tensors)

    def _save_common(self, folder: Path, *, side: str | None = None, appends: bool | None = None) -> None:
        save_tokenizer(folder, self.kind, side=side, appends=appends)
        write(
            folder / "config_sentence_transformers.json",
            {
                "__version__": {"sentence_transformers": "5.1.2", "transformers": "4.57.0", "pytorch": "2.8.0"},
                "prompts": {"query": "Query: ", "document": "Document: "},
                "default_prompt_name": "document",
                "similarity_fn_name": "cosine",
            },
        )
        family = "eurobert" if self.kind == "nano" else "qwen3"
        for name in (f"configuration_{family}", f"modeling_{family}"):
            (folder / f"{name}.py").write_text(REMOTE_CODE)
        for name in ("configuration_jina_embeddings_v5", "modeling_jina_embeddings_v5", "custom_st"):
            (folder / f"{name}.py").write_text(REMOTE_CODE)

    def save_tensors(self, path: Path, tensors: dict[str, Any]) -> None:
        contiguous = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        importlib.import_module("safetensors.torch").save_file(contiguous, str(path), metadata={"format": "pt"})

    def _config(self, *, merged: bool) -> dict[str, Any]:
        """config.json as the vendor writes it: the keys of transformers 4, ``rope_theta`` at the top."""
        common: dict[str, Any] = {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "hidden_size": WIDTH,
            "initializer_range": 0.02,
            "intermediate_size": INNER,
            "num_attention_heads": self.heads,
            "num_hidden_layers": LAYERS,
            "rope_scaling": None,
            "rope_theta": THETA[self.kind],
            "torch_dtype": "float32",
            "transformers_version": "4.57.0",
            "vocab_size": VOCABULARY + len(SPECIAL[self.kind]),
        }
        own = self._nano_config() if self.kind == "nano" else self._small_config()
        return common | own | (self._merged_names() if merged else self._base_names())

    def _nano_config(self) -> dict[str, Any]:
        eos = special_id("nano", "<|end_of_text|>")
        return {
            "bos_token_id": special_id("nano", "<|begin_of_text|>"),
            "eos_token_id": eos,
            "pad_token_id": eos,  # not the tokenizer's pad: a mask rebuilt from it loses the real EOS
            "mask_token_id": special_id("nano", "<|mask|>"),
            "hidden_dropout": 0.0,
            "is_decoder": False,
            "max_position_embeddings": 8192,
            "num_key_value_heads": self.heads,
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-05,
            "tie_word_embeddings": False,
        }

    def _small_config(self) -> dict[str, Any]:
        return {
            "bos_token_id": special_id("small", "<|endoftext|>"),
            "eos_token_id": special_id("small", "<|endoftext|>"),
            "head_dim": WIDTH // self.heads * 2,  # unlike hidden_size / heads, as in Qwen3-0.6B
            "layer_types": ["full_attention"] * LAYERS,
            "max_position_embeddings": 32768,
            "max_window_layers": LAYERS,
            "num_key_value_heads": self.heads // 2,
            "rms_norm_eps": 1e-06,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "use_cache": True,
            "use_sliding_window": False,
        }

    def _base_names(self) -> dict[str, Any]:
        return {
            "architectures": ["JinaEmbeddingsV5Model"],
            "auto_map": {
                "AutoConfig": "configuration_jina_embeddings_v5.JinaEmbeddingsV5Config",
                "AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model",
            },
            "model_type": "jina_embeddings_v5",
            "task_names": list(TASKS),
        } | ({"torch_dtype": "bfloat16"} if self.kind == "small" else {})

    def _merged_names(self) -> dict[str, Any]:
        if self.kind == "small":
            return {"architectures": ["Qwen3Model"], "model_type": "qwen3"}
        return {
            "architectures": ["EuroBertModel"],
            "auto_map": {
                "AutoConfig": "configuration_eurobert.EuroBertConfig",
                "AutoModel": "modeling_eurobert.EuroBertModel",
            },
            "model_type": "eurobert",
        }

    def _adapter_config(self) -> dict[str, Any]:
        empty = (
            "auto_mapping",
            "corda_config",
            "eva_config",
            "exclude_modules",
            "layer_replication",
            "modules_to_save",
        )
        return {
            **dict.fromkeys(empty),
            "alpha_pattern": {},
            "base_model_name_or_path": f"jinaai/jina-embeddings-v5-text-{self.kind}",
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": "gaussian",
            "lora_alpha": ALPHA,
            "lora_bias": False,
            "lora_dropout": 0.1,
            "peft_type": "LORA",
            "r": RANK,
            "rank_pattern": {},
            "revision": None,
            "target_modules": list(TARGETS),
            "task_type": "FEATURE_EXTRACTION",
            "use_dora": False,
            "use_rslora": False,
        }

    def backbone(self, weights: dict[str, Any]) -> Any:
        """Build the plain architecture from explicit values, not from any config.json."""
        size: dict[str, Any] = {
            "vocab_size": VOCABULARY + len(SPECIAL[self.kind]),
            "hidden_size": WIDTH,
            "intermediate_size": INNER,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": self.heads,
            "rope_parameters": {"rope_type": "default", "rope_theta": THETA[self.kind]},
            "attn_implementation": "eager",
        }
        library = self.transformers
        if self.kind == "nano":
            size |= {"num_key_value_heads": self.heads, "rms_norm_eps": 1e-5}
            size |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")) | {"mask_token_id": 0}
            model = library.EuroBertModel(library.EuroBertConfig(**size))
        else:
            own = {"num_key_value_heads": self.heads // 2, "head_dim": WIDTH // self.heads * 2, "rms_norm_eps": 1e-6}
            model = library.Qwen3Model(library.Qwen3Config(**size | own))
        model.load_state_dict(weights or model.state_dict())
        return model.eval()

    def _random_weights(self, generator: Any) -> dict[str, Any]:
        """Draw weights strong enough that every layer matters, on values that bfloat16 holds exactly."""
        weights = dict[str, Any]()
        for name, value in self.backbone({}).state_dict().items():
            noise = self.torch.randn(value.shape, generator=generator)
            drawn = 1 + noise / 10 if value.ndim == 1 else noise if "embed" in name else noise * value.shape[1] ** -0.5
            weights[name] = self._round(drawn)
        return weights

    def _random_adapter(self, generator: Any) -> dict[str, Any]:
        adapter = dict[str, Any]()
        for name, value in self.weights.items():
            module = name.removesuffix(".weight")
            if module.endswith(TARGETS):
                outputs, inputs = value.shape
                down = self.torch.randn((RANK, inputs), generator=generator) * inputs**-0.5
                up = self.torch.randn((outputs, RANK), generator=generator) * 0.3
                adapter |= {f"{module}.lora_A": self._round(down), f"{module}.lora_B": self._round(up)}
        return adapter

    def fold(self, task: str) -> dict[str, Any]:
        """Oracle of merging: W + alpha / r * B A (LoRA, arXiv 2106.09685)."""
        adapter, folded = self.adapters[task], dict(self.weights)
        for name in self.weights:
            module = name.removesuffix(".weight")
            if f"{module}.lora_A" in adapter:
                folded[name] = folded[name] + ALPHA / RANK * adapter[f"{module}.lora_B"] @ adapter[f"{module}.lora_A"]
        return folded

    def _round(self, tensor: Any) -> Any:
        return tensor.to(self.torch.bfloat16).to(self.torch.float32)
