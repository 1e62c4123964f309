"""The torch backend: transformers and peft, without remote code."""

from __future__ import annotations

import re
import threading
from typing import Any, Self

from jinavec.backends.local.base import ACCELERATOR_BUDGET, PROCESSOR_BUDGET, LocalBackend, check_width, count_workers
from jinavec.backends.local.errors import first_line
from jinavec.backends.local.options import TorchOptions
from jinavec.backends.local.pooling import check_modules, pool
from jinavec.backends.local.tokenizer import Batch, Tokenizer
from jinavec.backends.local.transformer import adapted, has_adapters, load_backbone, twin
from jinavec.backends.local.weights import Weights, find_weights
from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec.models import ModelProfile
from jinavec.options import read_options
from jinavec.settings import EncoderSettings
from jinavec.tasks import Task
from jinavec.vectors import Float32

PATTERNS = ("*.json", "*.safetensors")


class TorchBackend(LocalBackend):
    """Runs a model through transformers' own classes; of a base repository, every task."""

    name = "torch"
    options_type = TorchOptions

    def __init__(self, profile: ModelProfile, tokenizer: Tokenizer, weights: Weights, options: TorchOptions) -> None:
        """Load the model.

        Raises:
            InvalidInput: an option that cannot be used.
            ModelError: the weights are missing, damaged, or not what the profile says.
        """
        self._torch: Any = require("torch", "torch")
        on_cpu = _check_device(self._torch, options.device)
        workers = count_workers(options.workers, options.threads, processor=on_cpu)
        self._threads = options.threads if on_cpu else None
        self._others = self._torch.get_num_threads()
        super().__init__(profile, tokenizer, workers)
        self.budget = PROCESSOR_BUDGET if on_cpu else ACCELERATOR_BUDGET
        self.source, self.revision, self.precision = weights.source, weights.revision, options.precision
        self._folder = weights.folder
        self._device = options.device
        self._model: Any = _load(self._torch, weights, options)
        self._twins: dict[Task, Any] = {}
        self._lock = threading.Lock()
        check_width(profile, self._model.config.hidden_size)

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        """Load the weights and their tokenizer, from a folder or the hub.

        A base repository (it has a folder ``adapters``) serves all tasks; any other one only the task of the settings.

        Raises:
            InvalidInput: an option that cannot be used, or a server's address or key.
            MissingExtra: torch, transformers or peft is not installed.
            ModelError: a file is missing, damaged, or not what the profile says.
        """
        settings.check_local(api_key)
        options = read_options(TorchOptions, settings.options)
        require("torch", "torch")
        weights = find_weights(settings, PATTERNS, "torch")
        has_all_tasks = has_adapters(weights.folder)
        check_modules(weights.folder, settings.profile)
        tokenizer = Tokenizer.load(weights, settings.profile, "torch")
        backend = cls(settings.profile, tokenizer, weights, options)
        if has_all_tasks:
            backend._twin(settings.task)
        else:
            backend.task = settings.task
        backend.settle(settings.task, named=backend.task is None or weights.task is not None, verify=options.verify)
        return backend

    def prepare(self, workers: int) -> None:
        """Give a thread its share of the processor."""
        if self._threads is not None:
            _limit_threads(self._torch, self._threads * workers, self._others)

    def run(self, batch: Batch, task: Task) -> Float32:
        """Run the model, or the twin that carries the task's adapter."""
        torch, model = self._torch, self._model if self.task else self._twin(task)
        with torch.inference_mode():
            with self.runtime_errors(batch):
                ids = torch.from_numpy(batch.ids).to(self._device)
                mask = torch.from_numpy(batch.mask).to(self._device)
                needed = None if batch.mask.all() else mask  # without one, attention takes its fastest way
                hidden = model(input_ids=ids, attention_mask=needed).last_hidden_state.float()
            pooled = pool(torch, hidden, mask, self.profile.pooling)
            with self.runtime_errors(batch):  # on an accelerator, what failed before may show here
                return pooled.cpu().numpy()

    def _twin(self, task: Task) -> Any:
        """Return the model with a task's adapter; it shares the tensors of the others."""
        with self._lock:
            if task not in self._twins:
                self._twins[task] = adapted(twin(self._model), self._folder, task).to(self._device)
            return self._twins[task]

    def close(self) -> None:
        """Release the weights."""
        super().close()
        self._model = None
        self._twins.clear()


def _check_device(torch: Any, device: str) -> bool:
    try:
        return torch.empty(0, device=device).device.type == "cpu"
    except (RuntimeError, AssertionError) as error:  # the second where torch was built without the device
        raise InvalidInput(f"torch cannot use the device {device!r} here: {first_line(error)}") from error


def _limit_threads(torch: Any, threads: int, others: int) -> None:
    """Set the threads of this worker; torch makes it the default of threads to come as well, so give them theirs.

    A thread takes the default when it first asks: asked before, this one keeps what is set here.
    """
    torch.get_num_threads()
    torch.set_num_threads(threads)
    restore = threading.Thread(target=torch.set_num_threads, args=(others,))
    restore.start()
    restore.join()


def _load(torch: Any, weights: Weights, options: TorchOptions) -> Any:
    model = load_backbone(weights, "bfloat16" if options.precision == "bfloat16" else "float32")
    if options.precision == "bfloat16-mlp":
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and not re.search("attn|attention", name.lower()):
                _halve(torch, module)
    return model.to(options.device)


def _halve(torch: Any, linear: Any) -> None:
    """Let one layer compute in bfloat16 between float32 neighbours."""

    def before(_: Any, inputs: tuple[Any]) -> Any:
        return inputs[0].to(torch.bfloat16)

    def after(_: Any, inputs: Any, output: Any) -> Any:
        return output.to(torch.float32)

    linear.to(torch.bfloat16)
    linear.register_forward_pre_hook(before)
    linear.register_forward_hook(after)
