"""Small ONNX graphs with attention in plain operators, as exporters write it, and what they compute, in NumPy."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .tiny_tokenizers import SPECIAL, VOCABULARY, Kind, save_tokenizer, token_ids

HEADS, WIDTH, LAYERS = 4, 64, 2
SCALE = 0.25
WINDOW = 60
Mask = Literal["bidirectional", "causal", "window", "slopes"]
Scaling = Literal["query", "scores", "divided"]


@dataclass(frozen=True)
class AttentionGraph:
    """A model of two layers: each adds its attention to the vectors of the tokens."""

    kind: Kind = "nano"
    mask: Mask = "bidirectional"
    scaling: Scaling = "query"
    swapped: bool = False
    """The mask is the first operand of its addition."""
    guarded: bool = False
    """Rows without any token become zero after the softmax."""

    def weights(self) -> dict[str, NDArray[np.float32]]:
        random = np.random.default_rng(3)
        shapes = {f"{name}{layer}": (WIDTH, WIDTH) for layer in range(LAYERS) for name in "qkvo"}
        shapes["embeddings"] = (VOCABULARY + len(SPECIAL[self.kind]), WIDTH)
        return {name: random.normal(size=size).astype(np.float32) / np.float32(4) for name, size in shapes.items()}

    def save(self, folder: Path, *, external: bool = False) -> Path:
        """Write tokenizer and graph; return the folder."""
        onnx: Any = importlib.import_module("onnx")
        save_tokenizer(folder, self.kind)
        path = folder / "onnx" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        where = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 1024}
        onnx.save_model(self.model(), str(path), **(where if external else {}))
        return folder

    def model(self) -> Any:
        onnx: Any = importlib.import_module("onnx")
        model = onnx.parser.parse_model(self._text())
        arrays: dict[str, NDArray[Any]] = dict(self.weights())
        model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
        onnx.checker.check_model(model)
        return model

    def _text(self) -> str:
        shown = {
            "bidirectional": "shown = Identity (real)",
            "causal": "shown = And (real, before)",
            "window": "near = Less (distance, window)\n shown = And (real, near)",
            "slopes": "shown = Identity (real)",
        }[self.mask]
        added = "mask = Where (shown, nothing, hidden)"
        if self.mask == "slopes":
            added = "hide = Where (shown, nothing, hidden)\n far = Cast <to = 1> (distance)\n mask = Sub (hide, far)"
        layers = "\n".join(self._layer(layer) for layer in range(LAYERS))
        return f"""<ir_version: 8, opset_import: ["" : 17]>
tiny (int64[b, n] input_ids, int64[b, n] attention_mask) => (float[b, n, {WIDTH}] last_hidden_state)
<float nothing = {{0}}, float hidden = {{-3.4e38}}, float scale = {{{SCALE}}}, float parts = {{{1 / SCALE}}},
 int64 window = {{{WINDOW}}}, int64 zero = {{0}}, int64 one = {{1}}, int64[2] middle = {{1, 2}}, int64[1] first = {{1}},
 int64[4] split = {{0, 0, {HEADS}, {WIDTH // HEADS}}}, int64[3] joined = {{0, 0, {WIDTH}}}>
{{
 keys = Unsqueeze (attention_mask, middle)
 whole = Cast <to = 9> (keys)
 shape = Shape (input_ids)
 length = Gather (shape, one)
 places = Range (zero, length, one)
 column = Unsqueeze (places, first)
 gap = Sub (column, places)
 distance = Abs (gap)
 before = GreaterOrEqual (column, places)
 all = GreaterOrEqual (distance, zero)
 real = And (whole, all)
 {shown}
 {added}
 x0 = Gather (embeddings, input_ids)
{layers}
 last_hidden_state = Identity (x{LAYERS})
}}"""

    def _layer(self, layer: int) -> str:
        heads = "\n".join(
            f""" {name}_{layer} = MatMul (x{layer}, {name}{layer})
 {name}_split{layer} = Reshape ({name}_{layer}, split)
 {name}_heads{layer} = Transpose <perm = [{"0, 2, 3, 1" if name == "k" else "0, 2, 1, 3"}]> ({name}_split{layer})"""
            for name in "qkv"
        )
        query, key, raw, to = f"q_heads{layer}", f"k_heads{layer}", f"raw{layer}", f"scores{layer} ="
        scores = {
            "query": f"small{layer} = Mul ({query}, scale)\n {to} MatMul (small{layer}, {key})",
            "scores": f"{raw} = MatMul ({query}, {key})\n {to} Mul (scale, {raw})",
            "divided": f"{raw} = MatMul ({query}, {key})\n {to} Div ({raw}, parts)",
        }[self.scaling]
        operands = f"mask, scores{layer}" if self.swapped else f"scores{layer}, mask"
        guard = f" odd{layer} = IsNaN (soft{layer})\n share{layer} = Where (odd{layer}, nothing, soft{layer})\n"
        return f"""{heads}
 {scores}
 added{layer} = Add ({operands})
 soft{layer} = Softmax <axis = -1> (added{layer})
{guard if self.guarded else ""} mixed{layer} = MatMul ({"share" if self.guarded else "soft"}{layer}, v_heads{layer})
 back{layer} = Transpose <perm = [0, 2, 1, 3]> (mixed{layer})
 flat{layer} = Reshape (back{layer}, joined)
 out{layer} = MatMul (flat{layer}, o{layer})
 x{layer + 1} = Add (x{layer}, out{layer})"""

    def vectors(self, folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
        """Oracle: the unit vector of the last token of each text, computed alone."""
        rows = np.stack([self._last(np.array(token_ids(folder, text))) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def _last(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        weights = {name: array.astype(np.float64) for name, array in self.weights().items()}
        x = weights["embeddings"][ids]
        gap = np.subtract.outer(np.arange(len(ids)), np.arange(len(ids)))
        added = {
            "bidirectional": np.zeros(gap.shape),
            "causal": np.where(gap >= 0, 0, -np.inf),
            "window": np.where(abs(gap) < WINDOW, 0, -np.inf),
            "slopes": -abs(gap),
        }[self.mask]
        for layer in range(LAYERS):
            q, k, v = (
                (x @ weights[f"{name}{layer}"]).reshape(len(ids), HEADS, -1).transpose(1, 0, 2) for name in "qkv"
            )
            scores = q @ k.transpose(0, 2, 1) * SCALE + added
            shares = np.exp(scores - scores.max(axis=2, keepdims=True))
            mixed = shares / shares.sum(axis=2, keepdims=True) @ v
            x = x + mixed.transpose(1, 0, 2).reshape(len(ids), WIDTH) @ weights[f"o{layer}"]
        return x[-1]
