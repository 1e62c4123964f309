"""BackendWrapper: whatever is asked of it, the backend inside answers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
import pytest

from jinavec import Backend, Encoder, ModelProfile, Report, Role, Task
from jinavec.backends.base import BackendWrapper
from jinavec.backends.verification import Verification
from jinavec.vectors import Float32

ANSWERS = {
    "name": "inside",
    "adds_prompt": True,
    "overflow": "error",
    "narrowed": 8,
    "task": Task.CLUSTERING,
    "precision": "int8",
    "source": "owner/weights",
    "revision": "abc",
    "host": "host:1",
    "batch_tokens": 77,
}
"""Values of which none is a default."""


class Inside(Backend):
    """Answers everything otherwise than a plain backend does."""

    name = "inside"

    def __init__(self) -> None:
        vars(self).update({name: value for name, value in ANSWERS.items() if name not in ("name", "batch_tokens")})
        self.calls: list[object] = []

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.calls.append(("embed", texts, task, role, report))
        return np.ones((len(texts), 8), np.float32)

    @property
    def batch_tokens(self) -> int | None:
        return 77

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.calls.append(("aembed", texts, task, role, report))
        return np.ones((len(texts), 8), np.float32)

    def background(self) -> Backend:
        self.calls.append("background")
        return self

    def verify(self, profile: ModelProfile, task: Task) -> Verification:
        self.calls.append(("verify", profile, task))
        return Verification()

    def close(self) -> None:
        self.calls.append("close")


def public(kind: type) -> set[str]:
    return {name for name in {*vars(kind), *inspect.get_annotations(kind)} if not name.startswith("_")}


def test_every_attribute_is_that_of_the_backend_inside() -> None:
    inside = Inside()
    wrapper = BackendWrapper(inside)
    assert public(Backend) - {"options_type", "embed", "aembed", "background", "verify", "close"} == set(ANSWERS)
    assert {name: getattr(wrapper, name) for name in ANSWERS} == ANSWERS
    inside.revision = "another"
    assert wrapper.revision == "another"


async def test_every_method_is_that_of_the_backend_inside() -> None:
    inside = Inside()
    wrapper, report = BackendWrapper(inside), Report()
    asked = (["a"], Task.CLUSTERING, Role.QUERY, report)
    wrapper.embed(asked[0], task=asked[1], role=asked[2], report=report)
    await wrapper.aembed(asked[0], task=asked[1], role=asked[2], report=report)
    wrapper.background().close()
    assert inside.calls == [("embed", *asked), ("aembed", *asked), "background", "close"]


def test_the_backend_inside_proves_itself() -> None:
    inside = Inside()
    profile = ModelProfile(name="inside", width=8)
    assert BackendWrapper(inside).verify(profile, Task.RETRIEVAL) == Verification()
    assert inside.calls == [("verify", profile, Task.RETRIEVAL)]


def test_no_public_name_of_a_backend_is_forgotten() -> None:
    assert public(Backend) - {"options_type"} <= public(BackendWrapper)  # which tells of the class alone


def test_a_subclass_changes_what_it_overrides_and_nothing_else() -> None:
    class Renamed(BackendWrapper):
        name = "renamed"

    profile = ModelProfile(name="mine", width=16, dimensions=(8, 16))
    encoder = Encoder(profile, Renamed(Inside()), task="clustering", dimension=8)
    assert encoder.overflow == "error"
    assert encoder.encode_queries(["a"]).shape == (1, 8)
    contract = encoder.contract
    assert (contract.backend, contract.precision, contract.revision) == ("renamed", "int8", "abc")


@pytest.mark.parametrize("task", [None, Task.CLUSTERING])
def test_the_task_of_the_weights_is_said_by_every_backend(task: Task | None) -> None:
    inside = Inside()
    inside.task = task
    assert BackendWrapper(BackendWrapper(inside)).task is task
