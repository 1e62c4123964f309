"""Tiny ONNX graphs written by hand, and what they compute, in NumPy, for one text alone.

A token's vector is its embedding, plus the vector of its position, plus half the mean embedding of the text: a wrong
mask, a padded position or a neighbour in the batch shows in every component.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tiny_tokenizers import SPECIAL, VOCABULARY, WIDTH, Kind, save_tokenizer, token_ids

Float32 = NDArray[np.float32]
POSITIONS = 512
OUTPUTS = ("last_hidden_state", "sentence_embedding")


class TinyGraph:
    """Weights of a tiny graph; ``save`` writes them in the hub's layout, ``vectors`` is the oracle."""

    def __init__(self, kind: Kind, *, width: int = WIDTH, seed: int = 7) -> None:
        random = np.random.default_rng(seed)
        self.kind: Kind = kind
        rows = VOCABULARY + len(SPECIAL[kind])
        self.embeddings = random.normal(size=(rows, width)).astype(np.float32)
        self.positions = random.normal(size=(POSITIONS, width)).astype(np.float32)

    def save(
        self,
        folder: Path,
        *,
        outputs: tuple[str, ...] = OUTPUTS,
        file: str = "onnx/model.onnx",
        side: str | None = None,
        external: bool = False,
        token_types: bool = False,
    ) -> Path:
        """Write tokenizer and graph; return the folder."""
        save_tokenizer(folder, self.kind, side=side)
        self.save_graph(folder / file, outputs=outputs, external=external, token_types=token_types)
        return folder

    def save_graph(
        self,
        path: Path,
        *,
        outputs: tuple[str, ...] = OUTPUTS,
        external: bool = False,
        token_types: bool = False,
    ) -> None:
        """Write the graph alone; with ``external``, its weights beside it as ``NAME_data``."""
        onnx = importlib.import_module("onnx")
        path.parent.mkdir(parents=True, exist_ok=True)
        model = _model(self.embeddings, self.positions, outputs, token_types)
        onnx.checker.check_model(model)
        where = {"save_as_external_data": True, "location": f"{path.name}_data", "size_threshold": 1024}
        onnx.save_model(model, str(path), **(where if external else {}))

    def vectors(
        self, folder: Path, texts: list[str], *, pooling: str = "", limit: int | None = None, dimension: int = WIDTH
    ) -> Float32:
        """Oracle: unit vectors of texts that already carry their prefix.

        Args:
            folder: where the tokenizer is.
            texts: each computed alone, so no padding exists.
            pooling: of the hidden state; without one, the graph's own ``sentence_embedding``.
            limit: the most tokens.
            dimension: components kept before normalising.
        """
        pooled = [self._pool(np.array(token_ids(folder, text, limit)), pooling) for text in texts]
        rows = np.stack(pooled)[:, :dimension]
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def _pool(self, ids: NDArray[np.int64], pooling: str) -> NDArray[np.float64]:
        embedded = self.embeddings[ids].astype(np.float64)
        hidden = embedded + self.positions[: len(ids)] + embedded.mean(axis=0) / 2
        match pooling:
            case "mean":
                return hidden.mean(axis=0)
            case "cls":
                return hidden[0]
            case "last":
                return hidden[-1]
            case _:  # the graph turns its own output round, so that the two outputs cannot be confused
                return -hidden[-1]


def _model(embeddings: Float32, positions: Float32, outputs: tuple[str, ...], token_types: bool) -> Any:
    onnx = importlib.import_module("onnx")
    helper, numbers = onnx.helper, onnx.TensorProto
    constants = {
        "embeddings": embeddings,
        "positions": positions,
        "axis": np.array([1], np.int64),
        "channel": np.array([2], np.int64),
        "one": np.array(1, np.int64),
        "zero": np.array(0, np.int64),
        "two": np.array(2, np.float32),
    }
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * token_types
    table = (_TOKEN_TYPES if token_types else _NO_TOKEN_TYPES) + _NODES + (_OTHER if "other" in outputs else [])
    nodes = [helper.make_node(op, ins.split(), [out], **more) for op, ins, out, more in table]
    width = embeddings.shape[1]
    shapes = {"last_hidden_state": ["batch", "sequence", width], "sentence_embedding": ["batch", width]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, numbers.INT64, ["batch", "sequence"]) for name in inputs],
        [
            helper.make_tensor_value_info(name, numbers.FLOAT, shapes.get(name, shapes["last_hidden_state"]))
            for name in outputs
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


_Node = tuple[str, str, str, dict[str, Any]]
_NO_TOKEN_TYPES: list[_Node] = [("Identity", "input_ids", "ids", {})]
# used, so that the runtime insists on them, but without effect
_TOKEN_TYPES: list[_Node] = [("Mul", "token_type_ids zero", "nothing", {}), ("Add", "input_ids nothing", "ids", {})]
_OTHER: list[_Node] = [("Identity", "last_hidden_state", "other", {})]
_NODES: list[_Node] = [
    ("Gather", "embeddings ids", "embedded", {}),
    ("Cast", "attention_mask", "float_mask", {"to": 1}),
    ("Unsqueeze", "float_mask channel", "mask", {}),
    ("Mul", "embedded mask", "real", {}),
    ("ReduceSum", "real axis", "sum", {"keepdims": 1}),
    ("ReduceSum", "mask axis", "count", {"keepdims": 1}),
    ("Div", "sum count", "mean", {}),
    ("Div", "mean two", "half_mean", {}),
    ("CumSum", "attention_mask one", "counted", {}),
    ("Sub", "counted one", "rank", {}),
    ("Max", "rank zero", "position", {}),
    ("Gather", "positions position", "positioned", {}),
    ("Add", "embedded positioned", "placed", {}),
    ("Add", "placed half_mean", "last_hidden_state", {}),
    # the last position where the mask is 1, whichever side the padding is on
    ("CumSum", "attention_mask one", "left_to_right", {}),
    ("Mul", "left_to_right attention_mask", "ranks", {}),
    ("ReduceMax", "ranks axis", "highest", {"keepdims": 1}),
    ("Equal", "ranks highest", "is_last", {}),
    ("Cast", "is_last", "last_weight", {"to": 1}),
    ("Unsqueeze", "last_weight channel", "last_mask", {}),
    ("Mul", "last_hidden_state last_mask", "only_last", {}),
    ("ReduceSum", "only_last axis", "pooled", {"keepdims": 0}),
    ("Neg", "pooled", "turned", {}),
    ("LpNormalization", "turned", "sentence_embedding", {"axis": 1, "p": 2}),
]
