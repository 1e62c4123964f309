"""Short requests beside long texts: how long a question waits while `jinavec serve` always embeds a long text.

Questions of XQuAD come at random moments, so many a second on average, each a request of its own. Phases in turn: without
long texts, and with two clients that send one long text after the other, so that one is always being embedded and another
waits. The weights are EuroBERT drawn at random, at the size of jina-embeddings-v5-text-nano, on ONNX Runtime in float32.

    python benchmarks/server_long_texts.py --data DIR           # DIR holds xquad.en.json

Writes Markdown to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from encode import make_nano, mark, nano_profile, processor, read_mix, say
from server import ask, running

from jinavec.backends.local.export import export_onnx

GOAL = 2.0
"""What p95 of short requests may be beside long texts, as a multiple of that without."""
LONG_CLIENTS = 2
PHASES = ("without long texts", "beside long texts")


@dataclass
class Waits:
    """What was seen in all phases of one kind."""

    seconds: list[float] = field(default_factory=list[float])
    """Of each short request, from the moment it was due."""
    long_seconds: list[float] = field(default_factory=list[float])


def main() -> None:
    """Run the benchmark and print its report."""
    options = read_arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"
    print(f"{processor()}, Python {platform.python_version()}; load before: {os.getloadavg()[0]:.1f}\n")
    texts = read_mix(options.data, "all", None)
    questions = [text for text in texts if len(text) < 300]
    with tempfile.TemporaryDirectory(prefix="jinavec-long-texts-") as temporary:
        folder = (options.work or Path(temporary)).resolve()
        profile = prepare(folder, options.tokens)
        command = [options.program, "serve", "--config", write_config(folder, profile)]
        with running("jinavec serve", command, folder) as port:
            found = asyncio.run(measure(port, questions, " ".join(texts), options))
    print(report(found, options))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad.en.json")
    parser.add_argument("--tokens", type=int, default=8192, help="of a long text")
    parser.add_argument("--rate", type=float, default=2.0, help="questions a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    parser.add_argument("--repeat", type=int, default=3, help="phases of each kind, in turn")
    parser.add_argument("--work", type=Path, help="folder that keeps weights and graph for the next run")
    own = Path(sys.executable).with_name("jinavec")
    parser.add_argument("--program", type=Path, default=own, help="jinavec, such as that of another checkout")
    return parser.parse_args()


def prepare(folder: Path, tokens: int) -> Path:
    """Make weights and graph, unless they are there; return the file of a profile that truncates texts to some tokens."""
    weights, graph, profile = folder / "weights", folder / "graph", nano_profile()
    if not weights.exists():
        say("preparing weights")
        make_nano(weights)
    if not graph.exists():
        say("preparing the graph")
        export_onnx(profile, out=graph, source=str(weights))
    path = folder / "profile.toml"
    lines = ['name = "random"', f"width = {profile.width}", 'pooling = "last"', f"limit = {tokens}", 'backend = "onnx"']
    path.write_text("\n".join([*lines, f'source = "{graph}"']))
    return path


def write_config(folder: Path, profile: Path) -> Path:
    """Write the settings of the server, under which no long text is refused or takes too long."""
    path = folder / "server.toml"
    path.write_text(f'models = [{{name = "{profile}"}}]\noverflow = "truncate"\ntimeout = 3600\n')
    return path


async def measure(port: int, questions: Sequence[str], words: str, options: argparse.Namespace) -> list[Waits]:
    """Go through the phases in turn; return what was seen without long texts, and beside them."""
    found = [Waits(), Waits()]
    long_text = words[: 16 * options.tokens]  # letters enough for any tokenizer; the server truncates them
    for number in range(options.repeat):
        for kind, seen in enumerate(found):
            say(f"round {number + 1} of {options.repeat}, {PHASES[kind]}")
            going_on = asyncio.Event()
            clients = [
                asyncio.create_task(send_long(port, long_text, going_on, seen)) for _ in range(kind * LONG_CLIENTS)
            ]
            await asyncio.sleep(kind)  # so that one is under work
            own = await send_short(port, questions, options, random.Random(number))
            seen.seconds += own
            say(f"  p50 {1000 * np.quantile(own, 0.5):.0f} ms, p95 {1000 * np.quantile(own, 0.95):.0f} ms")
            going_on.set()
            await asyncio.gather(*clients)
    return found


async def send_long(port: int, text: str, ended: asyncio.Event, seen: Waits) -> None:
    """Send a long text, and again once it is answered."""
    connection = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    while not ended.is_set():
        started = time.perf_counter()
        await ask(connection, text)
        seen.long_seconds.append(time.perf_counter() - started)
    connection[1].close()


async def send_short(
    port: int, questions: Sequence[str], options: argparse.Namespace, chance: random.Random
) -> list[float]:
    """Send questions at random moments of a phase, whether or not those before are answered; return their seconds."""
    loop = asyncio.get_running_loop()
    end, due = loop.time() + options.seconds, loop.time()
    requests: list[asyncio.Task[float]] = []
    while (due := due + chance.expovariate(options.rate)) < end:
        await asyncio.sleep(max(0.0, due - loop.time()))
        requests.append(asyncio.create_task(ask_once(port, chance.choice(questions), due)))
    return await asyncio.gather(*requests)


async def ask_once(port: int, text: str, due: float) -> float:
    """Send one text over a connection of its own; return the seconds since it was due."""
    connection = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    await ask(connection, text)
    seconds = asyncio.get_running_loop().time() - due
    connection[1].close()
    with suppress(ConnectionError):
        await connection[1].wait_closed()
    return seconds


def report(found: Sequence[Waits], options: argparse.Namespace) -> str:
    """Return the table."""
    lines = [
        f"### {options.rate:g} questions a second beside texts of {options.tokens} tokens; {options.repeat} phases of"
        f" {options.seconds:g} s each\n",
        "| | requests | p50, ms | p95, ms | longest, ms | long texts |",
        "|---|---|---|---|---|---|",
    ]
    for name, seen in zip(PHASES, found, strict=True):
        p50, p95, longest = 1000 * np.quantile(seen.seconds, [0.5, 0.95, 1])
        count = len(seen.long_seconds)
        embedded = f"{count}, each in {np.mean(seen.long_seconds):.1f} s with its wait" if count else ""
        lines.append(f"| {name} | {len(seen.seconds)} | {p50:.0f} | {p95:.0f} | {longest:.0f} | {embedded} |")
    without, beside = (float(np.quantile(seen.seconds, 0.95)) for seen in found)
    ratio = beside / without
    lines.append(f"\np95 beside long texts is {ratio:.2f} times that without ({mark(ratio <= GOAL, f'{GOAL:g} x')}).")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
