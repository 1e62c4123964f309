"""What jinavec promises of every engine holds for this one too: pytest examples/custom_engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from jinavec.testing import EngineSuite


class TestSqliteEngine(EngineSuite):
    @pytest.fixture
    def target(self, tmp_path: Path) -> str:
        """Return the file of an index that is not there."""
        return f"sqlite:{tmp_path / 'notes.db'}"
