"""The README's commands, run as a stranger would: a copy of the checkout, a fresh environment, block by block."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [
    (language, code)
    for language, info, code in re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    if "no-run" not in info
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("readme") / "jinavec"
    leave = shutil.ignore_patterns(".git", ".venv*", "dist", ".*_cache", "__pycache__", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=leave)
    subprocess.run([sys.executable, "-m", "venv", copy.parent / "venv"], check=True)
    return copy


@pytest.mark.readme
def test_every_command_of_the_readme_runs(checkout: Path) -> None:
    environment = os.environ | {"PATH": f"{checkout.parent / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("VIRTUAL_ENV", None)
    ran: list[str] = []
    for language, code in BLOCKS:
        if language not in ("sh", "python"):
            continue
        code = code.replace("make test\n", "")  # this test is part of it
        shell = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else ["python", "-c", code]
        done = subprocess.run(shell, cwd=checkout, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        ran.append(done.stdout)
    output = "\n".join(ran)
    assert "statistics.median" in output  # make demo
    assert "\na\n" in output  # the Python example finds the cat
    assert '"id": "port"' in output  # search --json finds the ships
    assert "CC-BY-NC-4.0" in output  # models states the licence


def test_the_readme_names_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    missing = [extra for extra in project["optional-dependencies"] if f"`{extra}`" not in README]
    assert not missing


def test_version_and_changelog_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    heads = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heads[0] == project["version"]


def test_the_profile_in_the_readme_is_one(tmp_path: Path) -> None:
    from jinavec import ModelProfile

    (profile,) = [code for language, code in BLOCKS if language == "toml"]
    (tmp_path / "mine.toml").write_text(profile, "utf-8")
    assert ModelProfile.from_toml(tmp_path / "mine.toml").width == 384
