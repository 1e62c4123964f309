"""Models: the encoders of a server, loaded at its start, and found by the names that requests use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

from jinavec import Encoder
from jinavec.backends.base import Backend
from jinavec.models import ModelProfile
from jinavec.process import cores
from jinavec.tasks import Role, Task
from jinavec.wire.eis import Endpoint
from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server.batching import LONG, Batcher, guess_tokens
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.settings import ServedModel, ServerSettings

Turns = dict[str, asyncio.Semaphore]
"""By device: held while a batch of long texts runs."""


@dataclass(frozen=True)
class Served:
    """One model and task."""

    batcher: Batcher
    default_role: Role | None
    long: Batcher | None = None
    """Embeds long texts, apart so that short ones pass them; None where they take no longer than others."""

    def batcher_of(self, text: str) -> Batcher:
        """Return the batcher in which a text waits."""
        return self.long if self.long is not None and guess_tokens(text) > LONG else self.batcher

    @property
    def profile(self) -> ModelProfile:
        """What is true of the model."""
        return self.batcher.encoder.profile

    @property
    def task(self) -> Task:
        """The task its vectors are for."""
        return self.batcher.encoder.task

    @property
    def name(self) -> str:
        """The name by which replies and refusals call it: with the task, where tasks have vectors of their own."""
        profile = self.profile
        return f"{profile.base or profile.name}-{self.task}" if profile.prompts else profile.name


class Models:
    """What a server serves. Each model and task is ``NAME-TASK``; ``NAME`` alone is taken where it can mean but one."""

    def __init__(self, served: list[Served]) -> None:
        self.served = served
        self._names: dict[str, dict[Task, Served]] = {}
        for one in served:
            profile = one.profile
            for name in (profile.name, f"{profile.base or profile.name}-{one.task}", profile.base):
                if name:
                    self._names.setdefault(name, {}).setdefault(one.task, one)

    @classmethod
    def load(cls, settings: ServerSettings, metrics: Metrics) -> Self:
        """Load every model; raises what ``Encoder.load`` raises."""
        turns: Turns = {}
        return cls([one for model in settings.models for one in _load(model, settings, metrics, turns)])

    def find(self, name: str, task: Task | None) -> Served:
        """Return the model of a name; for no name the first one, and where no task is named either its first task.

        Raises:
            WireError: not served here, or for several tasks, and the name tells none.
        """
        if not name and task is None:
            return self.served[0]
        name = name.removeprefix("jinaai/") or self.served[0].profile.name
        tasks = self._names.get(name)
        if tasks is None:
            raise WireError(
                Reason.NOT_FOUND, f"this server does not serve that model; it serves: {', '.join(self._names)}"
            )
        if task is None:
            names = list(dict.fromkeys(one.name for one in tasks.values()))
            if len(names) > 1:
                raise WireError(
                    Reason.INVALID,
                    f"the model {name} is served for several tasks, whose vectors differ: ask for one of"
                    f" {', '.join(names)}",
                )
            return next(iter(tasks.values()))
        if task not in tasks:
            raise WireError(
                Reason.INVALID,
                f"{name} is served for {', '.join(tasks)}, not for {task} (jinavec serve --task)",
            )
        return tasks[task]

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints that Elasticsearch may offer without further set-up: one a model and task."""
        names: dict[str, Served] = {}
        for one in self.served:
            name, tasks = one.profile.name, self._names[one.profile.name].values()
            needs_task = name in names or len({other.name for other in tasks}) > 1
            names.setdefault(f"{one.profile.base or name}-{one.task}" if needs_task else name, one)
        return [Endpoint(id=f".{name}", model_name=name, dimensions=one.profile.width) for name, one in names.items()]

    def describe(self) -> list[dict[str, Any]]:
        """Return the models as ``/v1/models`` and ``/ready`` list them."""
        listed: dict[str, dict[str, Any]] = {}
        for one in self.served:
            profile, backend = one.profile, one.batcher.encoder.backend
            entry = listed.setdefault(
                profile.name,
                {
                    "id": profile.name,
                    "object": "model",
                    "created": 0,
                    "owned_by": "jinavec",
                    "tasks": [],
                    "width": profile.width,
                    "dimensions": sorted(profile.dimensions),
                    "limit": profile.limit,
                    "backend": backend.name,
                    "revision": backend.revision,
                },
            )
            entry["tasks"].append(one.task.value)
        return list(listed.values())

    def close(self) -> None:
        """Release the backends. Idempotent."""
        for one in self.served:
            one.batcher.encoder.close()


def _share(model: ServedModel, profile: ModelProfile, processes: int) -> dict[str, Any]:
    """Return the backend's options; where several processes run models on one processor, each takes its share of it."""
    runs_here = (model.backend or profile.backend or "onnx") in ("onnx", "torch")
    if processes == 1 or not runs_here or model.options.keys() & {"workers", "threads"}:
        return model.options
    return {**model.options, "workers": max(1, cores() // processes)}


def long_batcher(
    encoder: Encoder, settings: ServerSettings, metrics: Metrics, turns: Turns, accelerator: str = ""
) -> Batcher | None:
    """Return the batcher of long texts, or None where the model reads no long ones, or computes elsewhere.

    A processor embeds each alone, in the background, on half of its workers at most. An accelerator does one batch at a
    time, with short ones in between, so those of long texts are half as large.

    Args:
        encoder: what embeds.
        settings: the limits.
        metrics: where texts, batches and the queue are counted.
        turns: those of each device, for all models on it.
        accelerator: the device; empty for the processor.
    """
    busy, limit = encoder.backend.batch_tokens, encoder.profile.limit
    if busy is None or (limit is not None and limit <= LONG):
        return None
    side_by_side = 1 if accelerator else max(1, busy // LONG)
    backend = encoder.backend if accelerator else encoder.backend.background()
    return Batcher(
        Encoder(encoder.profile, backend, task=encoder.task),
        metrics,
        batch_tokens=busy // 2 if accelerator else LONG,
        queue_tokens=settings.queue_long_tokens,
        max_wait=0,
        concurrency=side_by_side,
        full=Reason.UNAVAILABLE,
        turns=turns.setdefault(accelerator, asyncio.Semaphore(side_by_side)),
    )


def _load(model: ServedModel, settings: ServerSettings, metrics: Metrics, turns: Turns) -> list[Served]:
    profile = model.profile
    shared: Backend | None = None
    served: list[Served] = []
    for task in model.offered(profile):
        if shared is None:
            encoder = Encoder.load(
                profile,
                task=task,
                backend=model.backend,
                source=model.source or None,
                revision=model.revision or None,
                url=model.url or None,
                served_as=model.served_as or None,
                options=_share(model, profile, settings.workers) or None,
            )
            if encoder.backend.task is None:  # its weights serve every task
                shared = encoder.backend
        else:
            encoder = Encoder(profile, shared, task=task)
        batcher = Batcher(
            encoder,
            metrics,
            batch_tokens=settings.batch_tokens,
            queue_tokens=settings.queue_tokens,
            max_wait=settings.max_wait,
            concurrency=settings.concurrency,
        )
        long = long_batcher(encoder, settings, metrics, turns, model.accelerator)
        served.append(Served(batcher, model.default_role or settings.default_role, long))
    return served
