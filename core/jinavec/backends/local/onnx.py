"""The onnx backend: ONNX Runtime and tokenizers, without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jinavec.backends.local.attention import external_folder, rewrite
from jinavec.backends.local.base import (
    ACCELERATOR_BUDGET,
    LONG,
    PROCESSOR_BUDGET,
    LocalBackend,
    check_width,
    count_workers,
)
from jinavec.backends.local.errors import model_errors
from jinavec.backends.local.options import CPU, OnnxOptions
from jinavec.backends.local.pooling import check_modules, pool
from jinavec.backends.local.tokenizer import Batch, Tokenizer
from jinavec.backends.local.weights import find_weights, read_json
from jinavec.errors import InvalidInput, ModelError
from jinavec.extras import require
from jinavec.models import ModelProfile
from jinavec.options import read_options
from jinavec.settings import EncoderSettings
from jinavec.tasks import Task
from jinavec.vectors import Float32

PLAIN_BYTES = 22
"""What plain attention takes for each head and pair of tokens: more than five float32 matrices at once (measured)."""
HEAD_WIDTH = 64
"""Of a model that does not say how many heads it has."""
SENTENCE, TOKENS = "sentence_embedding", "last_hidden_state"
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
PRECISIONS = {"fp16": "float16", "quantized": "int8", "": "float32"}
"""What the file names of the hub's graphs mean; any other suffix, such as q4, is its own name."""


class OnnxBackend(LocalBackend):
    """Runs a model's ONNX graph."""

    name = "onnx"
    options_type = OnnxOptions
    heads = 0
    """Heads of each attention that holds length x length numbers; 0 where none does."""

    def __init__(self, profile: ModelProfile, tokenizer: Tokenizer, session: Any, workers: int) -> None:
        super().__init__(profile, tokenizer, workers)
        self._session: Any = session
        self._again: Callable[[int], Any] = lambda _: session
        """Opens the graph for so many workers that give way."""
        self._on_processor = session.get_providers()[0] == CPU
        self._inputs = {given.name: INTEGERS[given.type] for given in session.get_inputs()}
        self._output = _choose_output(session, profile)

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        """Load the graph and its tokenizer, from a folder or the hub.

        Raises:
            InvalidInput: an option that cannot be used, or a server's address or key.
            MissingExtra: onnxruntime, onnx, tokenizers or huggingface-hub is not installed.
            ModelError: a file is missing, damaged, or not what the profile says.
        """
        settings.check_local(api_key)
        options = read_options(OnnxOptions, settings.options)
        runtime: Any = require("onnxruntime", "onnx")
        _check_provider(options.provider, runtime)
        workers = count_workers(options.workers, options.threads, processor=options.provider == CPU)
        profile = settings.profile
        weights = find_weights(settings, _patterns(options.file), "onnx")
        path = _find_graph(weights.folder, options.file)
        tokenizer = Tokenizer.load(weights, profile, "onnx")
        session, bounded = _open(runtime, path, options, workers)
        _check_inputs(path, session)
        notes: dict[str, str] = session.get_modelmeta().custom_metadata_map
        _check_notes(path, notes, settings)
        backend = cls(profile, tokenizer, session, workers)
        check_modules(weights.folder, profile, applied=backend._output == TOKENS)
        backend.source = weights.source
        backend.budget = PROCESSOR_BUDGET if options.provider == CPU else ACCELERATOR_BUDGET
        backend.heads = 0 if bounded else _count_heads(weights.folder, profile)
        backend._again = lambda workers: _open(runtime, path, options, workers, background=True)[0]
        backend.task = settings.task
        backend.revision = weights.revision or notes.get("jinavec.revision", "")
        backend.precision = notes.get("jinavec.precision") or _precision(path)
        named = weights.task is not None or "jinavec.task" in notes
        backend.settle(settings.task, named=named, verify=options.verify)
        return backend

    def second(self, workers: int) -> Self:
        """Open the graph again: a session has its own threads, with the priority of the one that opens it."""
        other = super().second(workers)
        other._session = other._pool.submit(self._again, workers).result()
        return other

    def memory(self, texts: int, longest: int) -> int:
        """Return the bytes of the matrices that plain attention holds at once."""
        return PLAIN_BYTES * self.heads * texts * longest**2

    def run(self, batch: Batch, task: Task) -> Float32:
        """Run the graph; the runtime is thread-safe."""
        given = {name: _input(name, batch).astype(kind, copy=False) for name, kind in self._inputs.items()}
        with self.runtime_errors(batch):
            output = self._session.run([self._output], given, self._run_options(batch))[0]
        pooled = output if self._output == SENTENCE else pool(np, output, batch.mask, self.profile.pooling)
        return pooled.astype(np.float32, copy=False)

    def _run_options(self, batch: Batch) -> Any:
        """After a long text, give its memory back: ONNX Runtime would keep the most that it ever took.

        After each short one, that would cost more than it saves.
        """
        options: Any = require("onnxruntime", "onnx").RunOptions()
        if self._on_processor and batch.ids.size >= LONG:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options

    def close(self) -> None:
        """Release the graph."""
        super().close()
        self._session = None


def _input(name: str, batch: Batch) -> NDArray[np.int64]:
    match name:
        case "input_ids":
            return batch.ids
        case "attention_mask":
            return batch.mask
        case "position_ids":
            return np.tile(np.arange(batch.ids.shape[1], dtype=np.int64), (len(batch.ids), 1))
        case _:  # token_type_ids: there is only ever a first text
            return np.zeros_like(batch.ids)


def _check_provider(provider: str, runtime: Any) -> None:
    available: list[str] = runtime.get_available_providers()
    if provider not in available:
        raise InvalidInput(f"there is no execution provider {provider!r} here; there are: {', '.join(available)}")


def _patterns(file: str) -> list[str]:
    graphs = [f"onnx/{file}", file]
    return [*graphs, *(f"{graph}_data*" for graph in graphs), "*.json"]


def _find_graph(folder: Path, file: str) -> Path:
    for path in (folder / "onnx" / file, folder / file):
        if path.is_file():
            return path
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.onnx"))
    hint = f"option file takes one of: {', '.join(others)}" if others else "`jinavec models export` makes one"
    raise ModelError(f"there is no {file} in {folder} or its folder onnx; {hint}")


def _open(
    runtime: Any, path: Path, options: OnnxOptions, workers: int, *, background: bool = False
) -> tuple[Any, bool]:
    """Load a graph, for the processor with attention that takes little memory.

    Returns:
        The session, and whether its memory grows with the length of a text, and not with its square.
    """
    settings = partial(_settings, runtime, options.threads, workers, background=background)
    if options.provider != CPU:
        return _session(runtime, path, path, settings(), options.provider), True
    onnx: Any = require("onnx", "onnx")
    with model_errors(f"cannot load {path}"):
        model = onnx.load(path, load_external_data=False)
    folder = str(external_folder(model, path))

    def open_graph(graph: Any) -> Any:
        inside = settings()
        inside.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        return _session(runtime, path, graph.SerializeToString(), inside, options.provider)

    def run(part: Any, given: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        session = open_graph(part)
        with model_errors(f"cannot run the masks of {path}"):
            return session.run(None, given)

    rewritten = rewrite(model, run)
    if rewritten.model is model:
        return _session(runtime, path, path, settings(), options.provider), rewritten.bounded
    return open_graph(rewritten.model), rewritten.bounded


def _settings(runtime: Any, threads: int, workers: int, *, background: bool) -> Any:
    """Let all workers share the threads of all: a batch that runs alone gets every one of them.

    Threads that wait must then sleep: a spinning one takes a core from the workers. In the background, weights stay as
    they are in their file, which takes no memory: a copy packed for matrix products gains long texts nothing.
    """
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads * workers
    settings.log_severity_level = 4  # errors come as exceptions
    if workers > 1 or background:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if background:
        settings.add_session_config_entry("session.disable_prepacking", "1")
    return settings


def _session(runtime: Any, path: Path, graph: Path | bytes, settings: Any, provider: str) -> Any:
    """Open a file, or the graph that was made of it."""
    given = graph if isinstance(graph, bytes) else str(graph)
    with model_errors(f"cannot load {path}"):
        session = runtime.InferenceSession(given, settings, providers=[provider])
    if provider not in session.get_providers():
        raise ModelError(f"ONNX Runtime could not start {provider}; its libraries may be missing")
    return session


def _count_heads(folder: Path, profile: ModelProfile) -> int:
    path = folder / "config.json"
    match read_json(path) if path.is_file() else None:
        case {"num_attention_heads": int(heads)}:
            return heads
        case _:
            return max(1, profile.width // HEAD_WIDTH)


def _check_inputs(path: Path, session: Any) -> None:
    for given in session.get_inputs():
        if given.name not in INPUTS or given.type not in INTEGERS:
            raise ModelError(f"{path} asks for an input {given.name} of {given.type}; known are: {', '.join(INPUTS)}")


def _choose_output(session: Any, profile: ModelProfile) -> str:
    outputs = {output.name: output.shape for output in session.get_outputs()}
    for name in (SENTENCE, TOKENS):
        if name in outputs:
            check_width(profile, outputs[name][-1])
            return name
    raise ModelError(f"the graph has neither {SENTENCE} nor {TOKENS} among its outputs: {', '.join(outputs)}")


def _check_notes(path: Path, notes: dict[str, str], settings: EncoderSettings) -> None:
    """Compare what ``export_onnx`` noted in the graph."""
    asked = {"model": settings.profile.base, "task": settings.task.value}
    for name, value in asked.items():
        if notes.get(f"jinavec.{name}", value) != value:
            raise ModelError(f"{path} was exported for the {name} {notes[f'jinavec.{name}']}, not {value}")


def _precision(path: Path) -> str:
    suffix = re.sub(r"^model_?", "", path.stem)
    return PRECISIONS.get(suffix, suffix)
