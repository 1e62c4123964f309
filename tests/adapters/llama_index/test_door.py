from __future__ import annotations

import subprocess
import sys


def test_without_llama_index_the_error_names_what_to_install() -> None:
    script = "import sys; sys.modules['llama_index.core'] = None; import jinavec_adapters.llama_index"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "MissingExtra: llama_index.core is not installed" in done.stderr
    assert 'run: pip install "llama-index-core' in done.stderr
