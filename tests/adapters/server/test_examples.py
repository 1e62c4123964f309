"""The examples and the files for operators do what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jinavec_adapters.server import ServerSettings
from jinavec_adapters.server.protocols import ROUTES

from .conftest import Server
from .fake_qdrant import fake_qdrant
from .test_limits import check

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


@pytest.mark.parametrize("example", ["self_hosted_eis", "qdrant_server_inference"])
def test_walkthrough(server: Server, example: str) -> None:
    script = ROOT / "examples" / example / "walkthrough.py"
    done = subprocess.run([sys.executable, script, server.url], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()[-2:]
    assert "cat" in first and "Ships" in second


def test_the_lines_for_qdrants_client(start: Any, profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "examples" / "qdrant_server_inference" / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    with (
        start("--model", profile, JINAVEC_SERVE_API_KEYS="k") as own,
        fake_qdrant(f"{own.url}/qdrant/inference", "k") as qdrant,
    ):
        for there, here in [("http://localhost:6333", qdrant.url), ("jina-embeddings-v5-text-nano", "roles")]:
            assert there in code
            code = code.replace(there, here)
        names: dict[str, Any] = {}
        exec(code, names)
        for thread in threading.enumerate():
            if "_check_compatibility" in thread.name:  # the client asks for the version beside everything else
                thread.join()
        names["client"].close()
    assert "id=1" in capsys.readouterr().out


def test_the_settings_file_for_operators() -> None:
    code, shown, _ = check("--config", DEPLOY / "server.toml", JINAVEC_SERVE_API_KEYS="k")
    assert (code, shown["host"], shown["models"][0]["tasks"]) == (0, "0.0.0.0", ["retrieval"])
    code, _, said = check("--config", DEPLOY / "server.toml")
    assert code == 2 and "set API keys" in said  # it listens to others


def test_the_container_file() -> None:
    lines = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    said = {word: words for word, _, words in (line.partition(" ") for line in lines) if word != "#"}
    environment: dict[str, str] = dict(re.findall(r"(\w+)=(\S+)", said["ENV"]))
    command: list[str] = re.findall(r'"(.*?)"', said["CMD"])
    assert check(*command, **environment)[0] == 2  # no key
    code, shown, _ = check(*command, **environment, JINAVEC_SERVE_API_KEYS="k")
    assert (code, shown["host"], shown["port"]) == (0, "0.0.0.0", 8080)
    extras: list[str] = re.findall(r"/src\[(.*?)\]", said["RUN"])
    known = (ROOT / "pyproject.toml").read_text("utf-8")
    assert extras and all(f"\n{extra} = [" in known for extra in extras[0].split(","))


def test_the_compose_file() -> None:
    yaml: Any = pytest.importorskip("yaml")
    services: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    build = services["jinavec"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    (key,) = services["jinavec"]["environment"]
    assert key.removeprefix("JINAVEC_SERVE_").lower() in ServerSettings.model_fields
    assert check(*services["jinavec"]["command"], **{key: "k"})[0] == 0
    elasticsearch, qdrant = services["elasticsearch"]["environment"], services["qdrant"]["environment"]
    assert elasticsearch["xpack.inference.elastic.url"] == "http://jinavec:8080"
    assert qdrant["QDRANT__INFERENCE__ADDRESS"].removeprefix("http://jinavec:8080") in ROUTES
    assert qdrant["QDRANT__INFERENCE__TOKEN"] == services["jinavec"]["environment"][key]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_systemd_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "jinavec.service").read_text("utf-8")
    command = re.findall(r"ExecStart=(\S+) serve", unit)
    assert command == ["/opt/jinavec/bin/jinavec"]
    path = tmp_path / "jinavec.service"
    path.write_text(unit.replace(command[0], "/bin/true"), "utf-8")  # verify looks for it
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    kill, stop = re.findall(r"KillSignal=(\w+)|TimeoutStopSec=(\d+)", unit)
    assert kill[0] == "SIGTERM" and int(stop[1]) > ServerSettings.model_fields["shutdown_timeout"].default


def test_the_source_distribution_is_the_repository() -> None:
    """Which holds what the README, the tests and the container file name."""
    git = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False)
    if git.returncode:
        pytest.skip("not a checkout")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    always = ["pyproject.toml", ".gitignore"]
    tops = {name.partition("/")[0] for name in git.stdout.splitlines()}
    assert tops <= {*included, *always}
