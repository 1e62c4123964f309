from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.list_engine import PROFILE, ListEngine

from jinavec import Contract, plugins
from jinavec.errors import EngineError, InvalidInput, InvalidTarget
from jinavec.targets import find_engine, open_engine


def install(folder: Path, name: str, *points: str, group: str = plugins.ENGINES) -> None:
    """Write what pip writes for a distribution with entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *points]) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where distributions are installed."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    ListEngine.shelf.clear()
    return tmp_path


def test_an_engine_of_another_distribution_is_opened_by_its_scheme(site: Path) -> None:
    with pytest.raises(InvalidTarget):
        find_engine("shelf:notes")
    install(site, "jinavec-shelf", f"shelf = {ListEngine.__module__}:ListEngine")
    assert find_engine("shelf:notes") == (ListEngine, "notes")
    with open_engine("shelf:notes", contract=Contract.of(PROFILE)) as engine:
        assert isinstance(engine, ListEngine)
    with pytest.raises(InvalidTarget, match="shelf"):
        find_engine("nothing:notes")


def test_a_built_in_name_cannot_be_taken(site: Path) -> None:
    install(site, "jinavec-shelf", f"faiss = {ListEngine.__module__}:ListEngine")
    assert find_engine("faiss:notes")[0].__name__ == "BinaryIndex"


def test_a_name_that_two_distributions_offer_is_refused(site: Path) -> None:
    install(site, "one", f"shelf = {ListEngine.__module__}:ListEngine")
    install(site, "two", f"shelf = {ListEngine.__module__}:HashBackend")
    with pytest.raises(
        InvalidInput, match=r"'shelf'.*ListEngine of one.*HashBackend of two|HashBackend of two.*of one"
    ):
        find_engine("shelf:notes")


@pytest.mark.parametrize("value", ["no_such_module:Engine", "tests.support.list_engine:HashBackend"])
def test_an_entry_point_that_is_no_engine_says_so(site: Path, value: Any) -> None:
    install(site, "jinavec-shelf", f"shelf = {value}")
    with pytest.raises(EngineError, match="'shelf'"):
        find_engine("shelf:notes")
