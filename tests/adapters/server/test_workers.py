"""Several worker processes: one server to the outside, started again where one dies, ended together."""

from __future__ import annotations

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from jinavec import Encoder

from .conftest import Server
from .test_limits import check
from .test_process import texts_of

GOOD = {"input": ["a"], "model": "lexical"}
KEY = {"Authorization": "Bearer a-key-to-hide"}
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")


def workers_of(server: Server) -> list[int]:
    """Return the processes that serve; uvicorn's supervisor has one child besides, which counts its resources."""
    pid = server.process.pid
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def started(server: Server) -> list[Any]:
    return [line for line in server.log if line["message"].startswith("Started server process")]


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def answered(server: Server) -> int:
    metrics = server.get("/metrics", headers=KEY).text
    (count,) = re.findall(r'jinavec_requests_total{route="/v1/embeddings",status="200"} (.*)', metrics)
    return int(float(count))


@pytest.mark.slow
def test_two_workers_are_one_server(start: Any, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        'models = ["lexical"]\napi_keys = ["a-key-to-hide"]\nmax_inputs = 1500\nbatch_tokens = 100\n', "utf-8"
    )
    with start("--config", config, "--workers", 2) as own:
        wait_for(lambda: len(started(own)) == 2)
        assert own.post("/v1/embeddings", GOOD).status_code == 401  # keys and limits were handed on
        assert own.post("/v1/embeddings", {"input": ["a"] * 1501}, headers=KEY).status_code == 413
        with ThreadPoolExecutor(8) as threads:
            replies = [threads.submit(own.post, "/v1/embeddings", GOOD, headers=KEY) for _ in range(60)]
        assert {reply.result().status_code for reply in replies} == {200}
        assert answered(own) == 60  # of both workers, whichever was asked

        killed = workers_of(own)[0]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(started(own)) == 3)
        assert killed not in workers_of(own) and len(workers_of(own)) == 2
        assert own.post("/v1/embeddings", GOOD, headers=KEY).status_code == 200
        assert answered(own) == 61

        with ThreadPoolExecutor(8) as threads:

            def ask(number: int) -> httpx2.Response:
                return own.post("/v1/embeddings", {"input": texts_of(number, 1000), "model": "lexical"}, headers=KEY)

            answers = [threads.submit(ask, number) for number in range(8)]
            wait_for(lambda: "jinavec_requests_under_way 8.0" in own.get("/metrics", headers=KEY).text)
            assert own.stop() == 0  # after both workers finished what they had accepted
            for number, answer in enumerate(answers):
                given = np.array([item["embedding"] for item in answer.result().json()["data"]], np.float32)
                assert (given == Encoder.load("lexical").encode_documents(texts_of(number, 1000))).all()
    printed = b"".join(own.lines).decode()
    assert "hide" not in printed


@pytest.mark.slow
@pytest.mark.usefixtures("hang_up")
def test_several_workers_end_when_they_are_hung_up(start: Any) -> None:
    with start("--model", "lexical", "--workers", 2) as own:
        wait_for(lambda: len(started(own)) == 2)
        for worker in workers_of(own):
            os.kill(worker, signal.SIGHUP)  # as a terminal does, which tells them all
        assert own.stop(signal.SIGHUP) == 0
        assert len([line for line in own.log if line["message"].startswith("Finished server process")]) == 2


@pytest.mark.slow
def test_a_model_that_no_worker_can_load_ends_the_start(start: Any, tmp_path: Path) -> None:
    flags = ("--model", "jina-embeddings-v5-text-nano", "--backend", "onnx", "--source", tmp_path, "--workers", 2)
    with pytest.raises(RuntimeError, match="jinavec: error: there is no model.onnx"):
        with start(*flags):
            pass


@pytest.mark.parametrize("option", ["device=cuda:1", "provider=CUDAExecutionProvider"])
def test_several_workers_on_one_accelerator_are_refused(option: str) -> None:
    nano = ("--model", "jina-embeddings-v5-text-nano", "--backend-option", option)
    code, _, said = check(*nano, "--workers", 2)
    assert code == 2 and option.partition("=")[2] in said
    assert check(*nano)[0] == 0
    assert check("--model", "lexical", "--workers", 0)[0] == 2
