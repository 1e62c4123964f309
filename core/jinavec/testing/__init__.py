"""Test suites for engines of one's own: inherit, give the fixtures, run pytest.

``EngineSuite`` is what our own engines pass; ``BackendSuite`` what our own backends do.
"""

from jinavec import extras

pytest = extras.require("pytest", "testing")
pytest.register_assert_rewrite("jinavec.testing.engine_suite", "jinavec.testing.backend_suite")

from jinavec.testing.backend_suite import BackendSuite  # noqa: E402  (asserts are rewritten only in later imports)
from jinavec.testing.engine_suite import EngineSuite  # noqa: E402

__all__ = ["BackendSuite", "EngineSuite"]
