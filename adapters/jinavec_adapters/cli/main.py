"""main: the entry point. It imports next to nothing, so that an interrupt is met by it, whatever is imported later."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

INTERRUPTED = 130
_AGAIN = "run the same command again"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 usage error, 130 interrupted.

    Args:
        arguments: the words after ``jinavec``; those of the process by default. Without any, help is shown.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _open_closed_streams()
        from jinavec_adapters.cli.run import run

        return run(words or ["--help"])
    except KeyboardInterrupt as error:
        return _interrupted(error, words)
    finally:
        if arguments is None:  # the process ends: another interrupt may end it at once
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Let what was closed by ``>&-`` lead nowhere, or the next file that is opened takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def _interrupted(error: KeyboardInterrupt, words: Sequence[str]) -> int:
    notes = getattr(error, "__notes__", [])
    if not notes and "index" in words[:1]:
        notes = [f"{_AGAIN} to continue"]
    more = f" ({'; '.join(notes)})" if notes else ""
    if "--no-resume" in words:
        more = more.replace(_AGAIN, f"{_AGAIN} without --no-resume")
    sys.stderr.write(f"jinavec: error: interrupted{more}\n")
    return INTERRUPTED
