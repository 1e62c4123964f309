"""The words of the package: what the numbers in its arrays mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DocIds = NDArray[np.int64]
"""Numbers of records: given in order, never again, and kept through every compaction."""
Slots = NDArray[np.int64]
"""Positions in the row files; a compaction gives new ones."""
Mask = NDArray[np.bool_]
"""One truth value a docid, or a slot."""
