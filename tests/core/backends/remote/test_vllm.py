"""vLLM's own server, started as README says, against transformers: the same vectors through both of its protocols."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from tests.support.model_checks import prefixed
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import DIMENSIONS, KINDS, TEXTS, long_text, tiny_profile

from jinavec import Encoder
from jinavec.errors import ServerError, TextTooLong

pytestmark = pytest.mark.vllm

HEADS = {"small": 4, "nano": 2}
"""vLLM's attention on processors takes heads of 32 components at least."""
OPTIONS = "--runner pooling --host 127.0.0.1 --enforce-eager --dtype float32".split()
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENGINE_READY_TIMEOUT_S": "1800",
}


@pytest.fixture(scope="module", params=KINDS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[TinyFamily, str]]:
    """A family, and the address of vLLM with its weights for retrieval."""
    program = shutil.which("vllm", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("vLLM is not installed: make test-vllm")
    folder = tmp_path_factory.mktemp(request.param)
    family = TinyFamily(request.param, folder, HEADS[request.param])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program, "serve", str(family.merged("retrieval")), *OPTIONS, "--port", str(port)]
    log = folder / "log"
    with log.open("w") as out:
        server = subprocess.Popen(command, env=os.environ | SETTINGS, stdout=out, stderr=out, start_new_session=True)
        try:
            _wait(server, f"http://127.0.0.1:{port}/health", log)
            yield family, f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(1)
    pytest.fail(f"vLLM ended:\n{log.read_text()[-3000:]}")


def test_agrees_with_transformers(served: tuple[TinyFamily, str]) -> None:
    family, url = served
    texts = [*TEXTS, "cafe\u0301", "\u212bngstro\u0308m", long_text(700)]
    for backend in ("openai", "cohere"):
        for role in ("query", "document"):
            for dimension in DIMENSIONS[:2]:
                with load(family, url, backend, dimension) as encoder:
                    right = family.vectors(prefixed("retrieval", role, texts), "retrieval", dimension=dimension)
                    assert np.abs(encoder.encode(texts, role=role) - right).max() < 5e-6


def test_what_it_refuses(served: tuple[TinyFamily, str]) -> None:
    family, url = served
    for backend in ("openai", "cohere"):
        with load(family, url, backend) as encoder, pytest.raises(TextTooLong, match="split the text"):
            encoder.encode_documents([long_text(33000)])
    with load(family, url, "tei") as encoder, pytest.raises(ServerError, match="no route POST /embed"):
        encoder.encode_documents(["a"])
    with Encoder.load(tiny_profile(family.kind), backend="openai", url=url) as encoder:
        with pytest.raises(ServerError, match="served_as="):
            encoder.encode_documents(["a"])


def load(family: TinyFamily, url: str, backend: str, dimension: int | None = None) -> Encoder:
    profile = tiny_profile(family.kind, limit=None)
    name = None if backend == "tei" else str(family.merged("retrieval"))
    return Encoder.load(profile, backend=backend, url=url, served_as=name, dimension=dimension)
