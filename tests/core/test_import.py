from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("elasticsearch", "faiss", "model2vec", "onnxruntime"),
    *("peft", "rich", "safetensors", "sentence_transformers", "tokenizers"),
    *("torch", "transformers", "typer", "wordllama"),
    *("asyncio", "importlib.metadata", "ssl", "tomllib"),
    *("aiolimiter", "anyio", "elasticsearch", "httpx2", "orjson", "tenacity"),
}


@pytest.mark.parametrize(
    "statement", ["import jinavec", "from jinavec import *", "import jinavec.backends", "import jinavec.wire.codecs"]
)
def test_importing_jinavec_imports_numpy_and_nothing_else_heavy(statement: str) -> None:
    script = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith(("jinavec_adapters", "jinavec_integrations"))}
