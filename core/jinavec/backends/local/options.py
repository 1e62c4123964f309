"""Options of the backends that run in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CPU = "CPUExecutionProvider"
TorchPrecision = Literal["float32", "bfloat16-mlp", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class LexicalOptions:
    """The lexical backend has no options."""


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """How ONNX Runtime runs a model.

    Attributes:
        file: The graph, in the folder or its ``onnx`` folder; a quantised one is ``model_q4.onnx``, ``model_int8.onnx``
            …
        provider: ONNX Runtime's execution provider.
        workers: Batches that run side by side; by default as many as the processor has cores for, one on other
            providers.
        threads: Threads of each worker; a batch that runs alone, or is long, gets those of all workers.
        verify: Whether to compare the weights with the golden values of the model when they are loaded.
    """

    file: str = "model.onnx"
    provider: str = CPU
    workers: int | None = None
    threads: int = 1
    verify: bool = False


@dataclass(frozen=True, kw_only=True)
class StaticOptions:
    """The static backend has no options."""


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """How torch runs a model.

    Attributes:
        device: torch's name of it: cpu, cuda, cuda:1, mps …
        precision: bfloat16-mlp computes the feed-forward layers, two thirds of the work, in bfloat16, within .0001 of
            the cosines of float32; bfloat16 computes everything so, within .0002, and is the one to choose on
            processors with AMX: 2.8 times as fast as float32. Others gain only with AVX512-BF16 at twice the rate of
            float32, or lose: ``benchmarks/encode.py`` tells.
        workers: Batches that run side by side; by default as many as the processor has cores for, one on other devices.
        threads: Threads of each worker; a batch that runs alone, or is long, gets those of all workers.
        verify: Whether to compare the weights with the golden values of the model when they are loaded.
    """

    device: str = "cpu"
    precision: TorchPrecision = "float32"
    workers: int | None = None
    threads: int = 1
    verify: bool = False
