"""Attention: what an exporter wrote in plain operators becomes ONNX Runtime's own, whose memory grows with the length.

Exporters write attention as MatMul, Add (of a mask), Softmax and MatMul. That holds several matrices of length x length
for each head at once: gigabytes for a text of 8,192 tokens. ONNX Runtime's own operators hold none of them:
MultiHeadAttention where no text is padded, GroupQueryAttention in a causal model.

A graph says nowhere what its mask means. So the part that computes the mask is run on a few tokens: where it hides the
padding and nothing else, or the padding and what follows, attention is replaced; elsewhere it stays as it is. Each head
is given as a text of its own with one head, so that nothing need be known of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jinavec.extras import require

MASK = "attention_mask"
FUSED = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
HIDDEN = -1e3
"""A mask adds less than this to what it hides: nothing of it is left after the softmax."""
PROBE = 48
"""Tokens of the texts on which a mask is tried. Sliding windows may be longer and would not show, but their length is a
constant of the graph: where there is a whole number of this size or more, the mask is unknown."""
NO_LENGTH = 2**31
"""Whole numbers from here on mean "to the end"."""
QUADRATIC = {"Softmax", "Attention", "MultiHeadAttention", "QAttention"}
"""Operators that may hold matrices of length x length."""
_PREFIX = "jinavec.attention."
"""Of what is written here; the branch for texts with padding holds matrices, but such texts are short."""
OLDEST_OPSET = 13
"""Graphs before it give the axes of their operators in another way."""

Kind = Literal["bidirectional", "causal"]
Run = Callable[[Any, Mapping[str, NDArray[Any]]], list[NDArray[Any]]]
"""Runs an onnx.ModelProto: its inputs by name, to its outputs in order."""


@dataclass(frozen=True)
class Rewritten:
    """A graph, and what became of its attention."""

    model: Any
    """An onnx.ModelProto."""
    bounded: bool
    """Whether memory grows with the length of a text, and not with its square."""


@dataclass(frozen=True)
class Plain:
    """One attention in plain operators: the names of its tensors, and nodes of onnx."""

    query: str
    """(texts, heads, length, head width)"""
    key: str
    """(texts, heads, head width, length)"""
    value: str
    """(texts, heads, length, head width)"""
    mask: str
    """(texts, 1, length, length), added to the scores"""
    scalings: tuple[tuple[str, str], ...]
    """Mul or Div of the scores, and by which number's name."""
    output: str
    """(texts, heads, length, head width)"""


def rewrite(model: Any, run: Run) -> Rewritten:
    """Replace each attention whose mask is understood; other nodes, weights, inputs and outputs stay as they are.

    Args:
        model: an onnx.ModelProto; its weights may lie in files, which are not read here.
        run: runs the part of it that computes masks.
    """
    graph = _Graph(model)
    found = [plain for node in model.graph.node if node.op_type == "Softmax" if (plain := graph.plain(node))]
    kinds = _kinds(graph, sorted({plain.mask for plain in found}), run)
    known = {plain.output: plain for plain in found if plain.mask in kinds}
    if known:
        model = _replace(graph, known, kinds)
    left = [node for node in _all_nodes(model) if node.op_type in QUADRATIC and not node.name.startswith(_PREFIX)]
    return Rewritten(model, bounded=not left)


def _all_nodes(model: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, its branches, and its functions."""
    waiting = [model.graph, *model.functions]
    while waiting:
        for node in waiting.pop().node:
            yield node
            waiting += (attribute.g for attribute in node.attribute if attribute.HasField("g"))


class _Graph:
    """The graph of a model, by the names of its tensors."""

    def __init__(self, model: Any) -> None:
        self.onnx: Any = require("onnx", "onnx")
        self.model = model
        self.inputs = {given.name: given for given in model.graph.input}
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}

    @cached_property
    def consumers(self) -> dict[str, list[Any]]:
        """The nodes that read each tensor."""
        found: dict[str, list[Any]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def plain(self, softmax: Any) -> Plain | None:
        """Return the attention around a softmax, if it is written plainly."""
        axis = next((attribute.i for attribute in softmax.attribute if attribute.name == "axis"), -1)
        added, product = self.producers.get(softmax.input[0]), self._weighted(softmax.output[0])
        if axis not in (-1, 3) or added is None or added.op_type != "Add" or product is None:
            return None
        for scores, mask in (added.input, added.input[::-1]):
            if unscaled := self._scores(scores):
                (query, key), scalings = unscaled
                return Plain(query, key, product.input[1], mask, scalings, product.output[0])
        return None

    def _scores(self, name: str) -> tuple[tuple[str, str], tuple[tuple[str, str], ...]] | None:
        """Return query and key whose product a tensor is, and by what it was scaled."""
        scalings: list[tuple[str, str]] = []
        node = self.producers.get(name)
        while node is not None and node.op_type in ("Mul", "Div"):
            scores, number = node.input
            if node.op_type == "Mul" and self._is_number(scores):
                scores, number = number, scores
            if not self._is_number(number):
                return None
            scalings.append((node.op_type, number))
            node = self.producers.get(scores)
        if node is None or node.op_type != "MatMul":
            return None
        return (node.input[0], node.input[1]), tuple(scalings)

    def _weighted(self, name: str) -> Any:
        """Return the product of the softmax with the values; what exporters do between about rows without any token."""
        readers = self.consumers.get(name, [])
        if {node.op_type for node in readers} == {"IsNaN", "Where"}:
            name = next(node.output[0] for node in readers if node.op_type == "Where")
            readers = self.consumers.get(name, [])
        is_product = len(readers) == 1 and readers[0].op_type == "MatMul" and readers[0].input[0] == name
        return readers[0] if is_product else None

    def constant(self, name: str) -> Any:
        """Return the tensor of a weight or of a Constant node; None for what is computed."""
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant":
            return next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        return self.weights.get(name)

    def _is_number(self, name: str) -> bool:
        tensor = self.constant(name)
        return tensor is not None and all(size == 1 for size in tensor.dims)

    def needed(self, outputs: Iterable[str], nodes: Sequence[Any]) -> tuple[list[Any], set[str]]:
        """Return those of some nodes, in order, that outputs need, and the names of all tensors needed."""
        names, kept = set(outputs), list[Any]()
        for node in reversed(nodes):
            if names.intersection(node.output):
                kept.append(node)
                names.update(node.input, *(_free_names(attribute.g) for attribute in node.attribute))
        return kept[::-1], names


def _free_names(branch: Any) -> set[str]:
    """Return the names that a branch of an If or Loop may take from the graph around it."""
    names = {output.name for output in branch.output}
    for node in branch.node:
        names.update(node.input, *(_free_names(attribute.g) for attribute in node.attribute))
    return names


def _kinds(graph: _Graph, masks: Sequence[str], run: Run) -> dict[str, Kind]:
    """Return what each mask does, of those that are understood."""
    opset = next((entry.version for entry in graph.model.opset_import if not entry.domain), 0)
    if not masks or MASK not in graph.inputs or opset < OLDEST_OPSET:
        return {}
    nodes, names = graph.needed(masks, graph.model.graph.node)
    if any(node.op_type == "MatMul" for node in nodes) or any(_may_be_a_length(graph, name) for name in names):
        return {}
    real = np.ones((2, PROBE), np.int64)
    real[1, PROBE // 3 :] = 0
    part = _part(graph, nodes, names, masks)
    given = {each.name: _example(graph, each, real) for each in part.graph.input}
    added = zip(masks, run(part, given), strict=True)
    return {name: kind for name, mask in added if (kind := _kind(mask, real.astype(bool)))}


def _may_be_a_length(graph: _Graph, name: str) -> bool:
    tensor = graph.constant(name)
    numbers = graph.onnx.TensorProto
    if tensor is None or tensor.data_type not in (numbers.INT64, numbers.INT32):
        return False
    if tensor.data_location == numbers.EXTERNAL:
        return True
    values = graph.onnx.numpy_helper.to_array(tensor).astype(np.float64)
    return bool(((abs(values) >= PROBE) & (abs(values) < NO_LENGTH)).any())


def _part(graph: _Graph, nodes: Sequence[Any], names: set[str], outputs: Sequence[str]) -> Any:
    helper = graph.onnx.helper
    part = helper.make_graph(
        nodes,
        "masks",
        [given for name, given in graph.inputs.items() if name in names],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [weight for name, weight in graph.weights.items() if name in names],
    )
    model = graph.model
    return helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)


def _example(graph: _Graph, given: Any, real: NDArray[np.int64]) -> NDArray[Any]:
    kind = graph.onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    values = np.arange(PROBE) * np.ones_like(real) if given.name == "position_ids" else np.zeros_like(real)
    return (real if given.name == MASK else values).astype(kind)


def _kind(added: NDArray[Any], real: NDArray[np.bool_]) -> Kind | None:
    """Return what a mask does to two texts, the second of which is padded; rows of padding do not count."""
    texts, length = real.shape
    if added.dtype != np.float32 or added.ndim != 4 or added.shape[1] != 1 or len(added) not in (1, texts):
        return None
    shown = np.broadcast_to(added[:, 0] > HIDDEN, (texts, length, length))
    if added[added > HIDDEN].any():  # it does more than to hide
        return None
    padding = np.broadcast_to(real[:, None, :], shown.shape)
    wanted: dict[Kind, NDArray[np.bool_]] = {"bidirectional": padding, "causal": padding & np.tri(length, dtype=bool)}
    return next((kind for kind, kept in wanted.items() if (shown == kept)[real].all()), None)


def _replace(graph: _Graph, known: Mapping[str, Plain], kinds: Mapping[str, Kind]) -> Any:
    """Return a copy of the model with some attentions replaced, each where its last node stood."""
    writer = _Writer(graph)
    nodes = writer.prepare()
    for node in graph.model.graph.node:
        plain = known.get(node.output[0])
        nodes += [node] if plain is None else writer.write(plain, kinds[plain.mask])
    kept, names = graph.needed((output.name for output in graph.model.graph.output), nodes)
    model = type(graph.model)()
    model.CopyFrom(graph.model)
    weights = [weight for weight in (*graph.weights.values(), *writer.constants) if weight.name in names]
    shapes = [shape for shape in graph.model.graph.value_info if shape.name in names]
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    model.graph.value_info.extend(shapes)
    model.graph.initializer.extend(weights)
    if all(entry.domain != FUSED for entry in model.opset_import):
        model.opset_import.append(graph.onnx.helper.make_opsetid(FUSED, 1))
    return model


class _Writer:
    """Writes attention in ONNX Runtime's own operators."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self._helper, self._numbers = graph.onnx.helper, graph.onnx.TensorProto
        self._nodes: list[Any] = []
        self._count = 0
        values = {"0": [0], "1": [1], "2": [2], "4": [4], "-1": [-1], "all": []}
        self.constants = [
            graph.onnx.numpy_helper.from_array(np.array(value, np.int64), f"{_PREFIX}{name}")
            for name, value in values.items()
        ]

    def prepare(self) -> list[Any]:
        """Return the nodes that all attentions share: about the padding, whose mask is (texts, length)."""
        whole = self._add("Cast", [MASK], to=self._numbers.INT64)
        self._full = self._add("Cast", [self._add("ReduceMin", [whole], keepdims=0)], to=self._numbers.BOOL)
        last = self._add("Sub", [self._add("ReduceSum", [whole, _one], keepdims=1), _one])
        self._last = self._add("Cast", [last], to=self._numbers.INT32)
        length = self._add("Slice", [self._add("Shape", [MASK]), _one, _two])
        self._length = self._add("Cast", [length], to=self._numbers.INT32)
        self._padding = self._add("Cast", [self._add("Unsqueeze", [MASK, _one])], to=self._numbers.INT32)
        return self._take()

    def write(self, plain: Plain, kind: Kind) -> list[Any]:
        """Return the nodes that give what an attention gave, under the same name.

        Every head becomes a text: (texts, heads, length, head width) is folded to (texts * heads, length, head width).
        """
        query = plain.query
        for operator, number in plain.scalings:
            query = self._add(operator, [query, number])
        key = self._add("Transpose", [plain.key], perm=[0, 1, 3, 2])
        shape = self._add("Shape", [plain.value])
        each = self._add("Concat", [_rest, self._add("Slice", [shape, _two, _four])], axis=0)
        folded = [self._add("Reshape", [tensor, each]) for tensor in (query, key, plain.value)]
        attend = self._causal if kind == "causal" else self._bidirectional
        self._add("Reshape", [attend(folded, shape), shape], output=plain.output)
        return self._take()

    def _causal(self, folded: Sequence[str], shape: str) -> str:
        heads = self._add("Slice", [shape, _zero, _two])
        last = self._add("Reshape", [self._add("Expand", [self._last, heads]), _rest])
        inputs = [*folded, "", "", last, self._length]
        return self._add("GroupQueryAttention", inputs, outputs=3, domain=FUSED, kv_num_heads=1, **_ONE_HEAD)

    def _bidirectional(self, folded: Sequence[str], shape: str) -> str:
        """Attend without a mask where no text is padded: with one, the operator holds length x length numbers."""
        before = self._take()
        full = self._branch(self._add("MultiHeadAttention", folded, domain=FUSED, **_ONE_HEAD))
        heads = self._add("Slice", [shape, _zero, _two])
        lengths = self._add("Concat", [heads, self._add("Cast", [self._length], to=self._numbers.INT64)], axis=0)
        spread = self._add("Expand", [self._padding, lengths])
        rows = self._add("Concat", [_rest, self._add("Slice", [lengths, _two, _four])], axis=0)
        padding = self._add("Reshape", [spread, rows])
        padded = self._branch(self._add("MultiHeadAttention", [*folded, "", padding], domain=FUSED, **_ONE_HEAD))
        self._nodes = before
        return self._add("If", [self._full], then_branch=full, else_branch=padded)

    def _branch(self, output: str) -> Any:
        given = self._helper.make_tensor_value_info(output, self._numbers.FLOAT, None)
        return self._helper.make_graph(self._take(), output, [], [given])

    def _add(self, operator: str, inputs: Sequence[str], *, output: str = "", outputs: int = 1, **more: Any) -> str:
        self._count += 1
        first = output or f"{_PREFIX}{self._count}.{operator}"
        names = [first, *(f"{first}.{number}" for number in range(1, outputs))]
        self._nodes.append(self._helper.make_node(operator, list(inputs), names, name=first, **more))
        return first

    def _take(self) -> list[Any]:
        nodes, self._nodes = self._nodes, []
        return nodes


_ONE_HEAD: dict[str, Any] = {"num_heads": 1, "scale": 1.0}
_zero, _one, _two, _four, _rest = (f"{_PREFIX}{name}" for name in ("0", "1", "2", "4", "-1"))


def external_folder(model: Any, path: Path) -> Path:
    """Return the folder of the files with a graph's weights, and name them in the graph by what they really are.

    The hub's cache keeps links in one folder to files of other names in another; ONNX Runtime follows links out of the
    folder of a graph that it opens itself, but of no other.

    Args:
        model: an onnx.ModelProto.
        path: where it was read from.
    """
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                file = (path.parent / entry.value).resolve()
                entry.value = file.name if file.parent == folder else entry.value
    return folder
