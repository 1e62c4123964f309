"""What a request without a key costs ``jinavec serve``: finding the key in a body, and how long others wait meanwhile.

    python benchmarks/server_strangers.py

Writes Markdown to standard output. Bodies are of the kinds that cost most; each time is the best of five.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
from encode import processor

from jinavec_adapters.server.json_scan import outline, top_level_text

MEBIBYTE = 2**20
SIZE = 8 * MEBIBYTE
GOAL = 10.0
"""Milliseconds a MiB."""
START, END = b'{"inference":"update","token":"wrong","inputs":[', b"0]}"


def fill(piece: bytes) -> bytes:
    """Return a piece as often as makes a large body."""
    return piece * (SIZE // len(piece))


BODIES = {
    "long texts": START + b'"' + fill(b"where does the cat sleep? ") + b'",' + END,
    "inputs of one letter": START + fill(b'{"data":"a","model":"lexical"},') + END,
    "empty lists": START + fill(b"[],") + END,
    "brackets": fill(b"["),
    "the name again and again": b"{" + fill(b'"token":"a",') + b'"token":"wrong"}',
    "the name within": START + fill(b'{"token":"a"},') + END,
    "escapes": b'{"token":"wrong","a":"' + fill(rb"\"") + b'"}',
    "names of escapes": b"{" + fill(rb'"\u0074oken":"a",') + b'"token":"wrong"}',
}


@contextmanager
def listening() -> Generator[str]:
    """Run a server that wants a key; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("jinavec"), "serve", "--model", "lexical", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"JINAVEC_SERVE_API_KEYS": "right"}, stderr=subprocess.DEVNULL)
    try:
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def best(work: Callable[[], object]) -> float:
    """Return the shortest time of five, in milliseconds a MiB."""
    times: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started) / SIZE * MEBIBYTE)
    return min(times)


def waits(url: str, body: bytes) -> float:
    """Return the longest that another client waits for an answer while a body is refused, in milliseconds."""
    with httpx2.Client(base_url=url, timeout=60) as stranger, httpx2.Client(base_url=url, timeout=60) as other:
        other.get("/health")
        sending = threading.Thread(target=lambda: stranger.post("/qdrant/inference", content=body))
        sending.start()
        longest = 0.0
        while sending.is_alive():
            started = time.perf_counter()
            other.get("/health")
            longest = max(longest, time.perf_counter() - started)
    return 1000 * longest


def main() -> None:
    """Measure, and print the table."""
    print(f"{processor()}, Python {platform.python_version()}; load before: {os.getloadavg()[0]:.1f}\n")
    print(f"| body | finding the key, ms a MiB (goal {GOAL:g}) | measuring it, ms a MiB | others wait at most, ms |")
    print("|---|---|---|---|")
    with listening() as url:
        for name, body in BODIES.items():
            found = best(lambda body=body: top_level_text(body, "token"))
            measured = best(lambda body=body: outline(body))
            print(f"| {name} | {found:.1f} | {measured:.1f} | {waits(url, body):.0f} |", flush=True)


if __name__ == "__main__":
    main()
