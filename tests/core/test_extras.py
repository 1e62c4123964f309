from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jinavec.errors import MissingExtra
from jinavec.extras import installed, require
from jinavec.requirements import pip_line


def test_what_is_installed_is_imported() -> None:
    assert require("json", "any") is sys.modules["json"]
    assert require("os.path", "any") is sys.modules["os.path"]


@pytest.mark.parametrize(("module", "named"), [("no_such_lib", "no_such_lib"), ("no_such_lib.inner", "no_such_lib")])
def test_what_is_missing_names_what_to_install(module: str, named: str) -> None:
    with pytest.raises(MissingExtra, match=f'{named} is not installed; run: pip install "no_such_lib"$') as missing:
        require(module, "mine")
    assert isinstance(missing.value, ImportError)
    assert missing.value.module == named
    assert isinstance(missing.value.__cause__, ModuleNotFoundError)


def test_a_missing_part_of_a_library_is_missing_too() -> None:
    with pytest.raises(MissingExtra, match=r"json\.no_such_part"):
        require("json.no_such_part", "mine")


def test_a_blocked_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "colorsys", None)
    with pytest.raises(MissingExtra, match="colorsys"):
        require("colorsys", "mine")
    assert not installed("colorsys")


def test_a_library_that_itself_lacks_something_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_a_library.py").write_text("import its_missing_part")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="its_missing_part") as broken:
        require("half_a_library", "mine")
    assert not isinstance(broken.value, MissingExtra)


def test_installed_looks_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("raise AssertionError")
    (tmp_path / "stray_folder").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed("never_imported")
    assert not installed("stray_folder")
    assert not installed("no_such_lib")
    assert installed("numpy")


PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_line_installs_the_libraries_of_the_extra(extra: str) -> None:
    def libraries(name: str) -> set[Requirement]:
        own = {Requirement(line) for line in EXTRAS[name]}
        others = {other for line in own if line.name == "jinavec" for other in line.extras}
        return {line for line in own if line.name != "jinavec"}.union(*map(libraries, others))

    pip, install, *lines = shlex.split(pip_line(extra, "never"))
    assert (pip, install) == ("pip", "install")
    given = {Requirement(line) for line in lines}
    wanted = libraries(extra)
    assert {(canonicalize_name(r.name), r.specifier, str(r.marker)) for r in given} == {
        (canonicalize_name(r.name), r.specifier, str(r.marker)) for r in wanted
    }
