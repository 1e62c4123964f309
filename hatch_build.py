"""Compiles the search kernel into the wheel, where there is a C compiler; without one, searches use FAISS and NumPy."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("integrations/jinavec_integrations/faiss/search")
FLAGS = ["-std=gnu11", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno"]
"""Without contraction, sums of floats are the same on every processor."""


class KernelHook(BuildHookInterface[Any]):
    """Builds ``kernel.DIGEST.so`` beside kernel.c; the digest is that of the source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one for this platform; or leave it as it is."""
        folder = Path(self.root, FOLDER)
        for old in folder.glob("kernel.*.so"):
            old.unlink()
        source = folder / "kernel.c"
        target = folder / f"kernel.{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
        if reason := compile_kernel(source, target):
            self.app.display_warning(f"the search kernel was not compiled, searches will use FAISS: {reason}")
            return
        build_data["artifacts"].append(f"/{FOLDER.as_posix()}/{target.name}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_kernel(source: Path, target: Path, *flags: str) -> str:
    """Compile the kernel; return why not, where that fails."""
    named = os.environ.get("CC", "").split()
    compiler = named or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
    if not compiler or sys.platform == "win32":
        return "no C compiler was found"
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    command = [*compiler, *FLAGS, *wide, *flags, str(source), "-o", str(target), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else f"{' '.join(command)}: {done.stderr.strip()[-500:]}"
