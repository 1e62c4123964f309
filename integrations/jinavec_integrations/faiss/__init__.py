"""The FAISS binary index: Hamming search over packed bits, rescored with int8 vectors; one folder on disk."""

from jinavec_integrations.faiss.builder import BinaryIndexBuilder
from jinavec_integrations.faiss.calibrate import Calibration
from jinavec_integrations.faiss.index import BinaryIndex
from jinavec_integrations.faiss.parameters import FaissOptions, Plan, SearchParameters

__all__ = ["BinaryIndex", "BinaryIndexBuilder", "Calibration", "FaissOptions", "Plan", "SearchParameters"]
