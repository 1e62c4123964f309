"""Backends of other distributions, found by their entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from jinavec import Encoder, ModelProfile
from jinavec.errors import InvalidInput

PROFILE = ModelProfile(name="mine", width=16, dimensions=(8, 16))
MODULE = """
from jinavec import Backend
import numpy as np


class Ones(Backend):
    name = "ones"

    @classmethod
    def load(cls, settings, api_key):
        backend = cls()
        backend.revision = f"{settings.source} {api_key}"
        return backend

    def embed(self, texts, *, task, role, report=None):
        return np.ones((len(texts), 16), np.float32)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution as an installer leaves it; it also claims a name of ours."""
    (tmp_path / "toy_backend.py").write_text(MODULE, "utf-8")
    metadata = tmp_path / "toy_backend-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-backend\nVersion: 1.0\n", "utf-8")
    points = "[jinavec.backends]\nones = toy_backend:Ones\nlexical = toy_backend:Ones\n"
    (metadata / "entry_points.txt").write_text(points, "utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "toy_backend", raising=False)


def test_a_backend_of_another_distribution_is_found_by_its_name(installed: None) -> None:
    encoder = Encoder.load(PROFILE, backend="ones", source="folder", api_key="k")
    assert (encoder.contract.backend, encoder.contract.revision) == ("ones", "folder k")
    np.testing.assert_allclose(encoder.encode_queries(["a"]), np.full((1, 16), 0.25))


def test_a_built_in_name_cannot_be_taken(installed: None) -> None:
    assert type(Encoder.load(PROFILE, backend="lexical").backend).__module__ == "jinavec.backends.local.lexical"


def test_an_unknown_name_lists_those_of_other_distributions_too(installed: None) -> None:
    with pytest.raises(InvalidInput, match="unknown backend 'two'; known: .*lexical.*ones"):
        Encoder.load(PROFILE, backend="two")
