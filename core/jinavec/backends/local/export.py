"""Export: from weights to the folder with an ONNX graph that the onnx backend runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jinavec.backends.base import Report
from jinavec.backends.local.errors import first_line, model_errors
from jinavec.backends.local.onnx import SENTENCE, TOKENS, OnnxBackend
from jinavec.backends.local.pooling import pool
from jinavec.backends.local.quiet import quiet
from jinavec.backends.local.sentence_folder import write_sentence_files
from jinavec.backends.local.torch import PATTERNS, TorchBackend
from jinavec.backends.local.transformer import adapted, has_adapters, load_backbone
from jinavec.backends.local.weights import Weights, find_weights
from jinavec.errors import InvalidInput, ModelError
from jinavec.extras import require
from jinavec.models import ModelProfile, find_model
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task, prompt
from jinavec.vectors import normalize

Precision = Literal["float32", "int8"]
LEAST_COSINE: dict[Precision, float] = {"float32": 0.99999, "int8": 0.9}
"""How near the graph's vectors must be to torch's; below, nothing is written."""
OPSET = 18
"""Newer ones broke: ONNX Runtime refuses opset 23's rotary embedding in batches of more than one text."""
SAMPLES = (
    "Which planet is known as the Red Planet?",
    "Mars.",
    "In a vacuum, light travels 299,792,458 metres every second: a universal constant of nature.",
    "猫は暖かい屋根の上で眠っている。",
    "Die Katze schläft, während der Regen auf die anderen Häuser der Straße fällt, und niemand weckt sie auf.",
)


def export_onnx(
    model: str | ModelProfile,
    *,
    out: str | Path,
    task: Task | str | None = None,
    source: str = "",
    revision: str = "",
    precision: Precision = "float32",
) -> Path:
    """Write a model of one task as an ONNX graph, in a folder that other libraries load as well.

    TEI, fastembed and ONNX Runtime run the graph; in float32, the folder also holds the weights as safetensors for
    sentence-transformers and vLLM. Prefixes, pooling and limit stand in it as these read them.

    The graph takes ``input_ids`` and ``attention_mask`` (any batch, any length, padding on the right, with rotary
    positions on either side) and gives ``last_hidden_state`` and ``sentence_embedding``, pooled as the profile says
    and of unit length. It is compared with torch before the folder appears: ``out`` is there complete, or not at all.

    Args:
        model: a catalogue name or a profile.
        out: the folder to make; it must not exist, or be empty.
        task: whose adapter to fold in; the one in a merged name by default, else retrieval.
        source: a folder or hub name of the weights; by default the profile's.
        revision: of the weights; by default the profile's pinned one.
        precision: int8 quantizes the weights of matrix products per channel, and activations as they come.

    Returns:
        ``out``.

    Raises:
        InvalidInput: ``out`` is not empty, or another precision.
        UnknownModel, UnknownTask: not offered.
        MissingExtra: torch, onnx, onnxscript or onnxruntime is not installed.
        ModelError: the weights cannot be loaded or written, or the graph's vectors differ from torch's.
    """
    if precision not in get_args(Precision):
        raise InvalidInput(f"precision is one of {', '.join(get_args(Precision))}, not {precision!r}")
    profile = find_model(model)
    settings = EncoderSettings(
        profile=profile,
        task=profile.check_task(task),
        dimension=profile.width,
        backend="torch",
        source=str(source),
        revision=revision,
    )
    out = Path(out)
    weights = find_weights(settings, PATTERNS, "torch")
    with _appearing(out) as folder:
        _write_graph(settings, weights, folder / "onnx" / "model.onnx", precision)
        write_sentence_files(folder, weights.folder, profile, settings.task)
        _verify(settings, folder, precision)
    return out


@contextmanager
def _appearing(out: Path) -> Generator[Path]:
    """Give a folder to fill that becomes ``out`` when all went well, and vanishes otherwise."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInput(f"{out} is there already, and not empty; name a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            folder = Path(temporary) / out.name
            (folder / "onnx").mkdir(parents=True)
            yield folder
            if out.exists():
                out.rmdir()
            folder.rename(out)
    except OSError as error:  # the disk is full, or nobody may write there
        raise ModelError(f"cannot export to {out}: {first_line(error)}") from error


def _write_graph(settings: EncoderSettings, weights: Weights, path: Path, precision: Precision) -> None:
    ir: Any = require("onnx_ir", "export")
    graph = _trace(settings, weights, path.parents[1], precision)
    if precision == "int8":
        graph = _quantize(ir, graph, path.parent / "work")
    passes: Any = require("onnx_ir.passes.common", "export")
    with model_errors(f"cannot export {settings.profile.name}"):
        passes.ClearMetadataAndDocStringPass()(graph)  # they name files of this machine
    notes = {"model": settings.profile.base, "precision": precision, "revision": weights.revision}
    if _serves_one_task(settings, weights):
        notes["task"] = settings.task.value
    graph.metadata_props.update({f"jinavec.{name}": value for name, value in notes.items() if value})
    with model_errors(f"cannot write {path}"):
        ir.save(graph, path, external_data=f"{path.name}_data")
    shutil.rmtree(path.parent / "work", ignore_errors=True)


def _serves_one_task(settings: EncoderSettings, weights: Weights) -> bool:
    return has_adapters(weights.folder) or "{task}" in settings.profile.source


def _trace(settings: EncoderSettings, weights: Weights, folder: Path, precision: Precision) -> Any:
    torch: Any = require("torch", "torch")
    for module in ("onnx", "onnxscript"):
        require(module, "export")
    backbone = load_backbone(weights, "float32")
    if has_adapters(weights.folder):
        _fold(adapted(backbone, weights.folder, settings.task))
    name = settings.profile.base or settings.profile.name
    _write_backbone(backbone, folder, f"{name}-{settings.task}" if _serves_one_task(settings, weights) else name)
    if precision == "float32":
        _write_tensors(backbone, folder / "model.safetensors")
    ids = torch.ones((2, 7), dtype=torch.long)
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    pooled = _pooled(torch, backbone, settings.profile.pooling)
    exporting = model_errors(f"cannot export {settings.profile.name}")
    with exporting, torch.no_grad(), quiet("torch.onnx"):
        program = torch.onnx.export(
            pooled,
            (ids, torch.ones_like(ids)),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=[TOKENS, SENTENCE],
            dynamic_shapes=(shape, shape),
            verbose=False,
        )
    return program.model


def _write_backbone(backbone: Any, folder: Path, model: str) -> None:
    """Write config.json, for transformers' own class."""
    config: dict[str, Any] = backbone.config.to_dict()
    config |= {"_name_or_path": model, "architectures": [type(backbone).__name__], "dtype": "float32"}
    for name in ("auto_map", "task_names"):  # the code it names is not there, and the other tasks are not
        config.pop(name, None)
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]  # where transformers 4 looks for it, which else takes another one
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def _write_tensors(backbone: Any, path: Path) -> None:
    """Write the weights under the names of the plain architecture: a folded adapter leaves wrappers around them."""
    tensors = {
        name.replace(".base_layer.", "."): tensor.contiguous()
        for name, tensor in backbone.state_dict().items()
        if ".lora_" not in name
    }
    with model_errors(f"cannot write {path}"):
        require("safetensors.torch", "torch").save_file(tensors, str(path), metadata={"format": "pt"})


def _fold(model: Any) -> None:
    layer: Any = require("peft.tuners.tuners_utils", "torch").BaseTunerLayer
    for module in model.modules():
        if isinstance(module, layer):
            module.merge()


def _pooled(torch: Any, backbone: Any, pooling: str) -> Any:
    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.backbone = backbone

        def forward(self, input_ids: Any, attention_mask: Any) -> tuple[Any, Any]:
            hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            pooled = pool(torch, hidden, attention_mask, pooling)
            return hidden, torch.nn.functional.normalize(pooled, dim=-1)

    return Pooled().eval()


def _quantize(ir: Any, graph: Any, folder: Path) -> Any:
    """Quantize matrix products alone, each column of weights by its own scale: one scale for all loses the meaning.

    Weights get seven bits: with eight, sums of two products overflow 16 bits on x86 processors without VNNI, and the
    same graph gives other vectors there (``reduce_range`` in ONNX Runtime's documentation of quantization).
    """
    quantization: Any = require("onnxruntime.quantization", "onnx")
    full, small = folder / "full.onnx", folder / "small.onnx"
    folder.mkdir()
    graph.metadata_props["onnx.quant.pre_process"] = "onnxruntime.quant"  # shapes are known: the exporter saw them
    with model_errors("cannot quantize the graph"):
        ir.save(graph, full, external_data="full.data")
        quantization.quantize_dynamic(
            full,
            small,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=True,
        )
        return ir.load(small)


def _verify(settings: EncoderSettings, folder: Path, precision: Precision) -> None:
    """Compare the graph, which gets all texts in one padded batch, with torch, which gets each alone."""
    texts = [prompt(settings.task, role, settings.profile) + text for role in Role for text in SAMPLES]
    exported = dataclasses.replace(settings, backend="onnx", source=str(folder), revision="")
    with closing(TorchBackend.load(settings, None)) as torch, closing(OnnxBackend.load(exported, None)) as onnx:
        alone = [torch.embed([text], task=settings.task, role=Role.DOCUMENT) for text in texts]
        batch = onnx.tokenizer.batch(onnx.tokenizer.encode(texts, Report()), list(range(len(texts))))
        together = onnx.run(batch, settings.task)
    least = (normalize(together) * normalize(np.concatenate(alone))).sum(axis=1).min()
    if least < LEAST_COSINE[precision]:
        raise ModelError(f"the graph differs from torch: cosine {least:.6f}, where {LEAST_COSINE[precision]} is due")
