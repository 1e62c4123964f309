"""jinavec: jina-embeddings-v5-text in vector search engines, with the right task, prefix and dimension."""

from jinavec.backends.base import Backend, Report
from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine
from jinavec.errors import JinavecError, JinavecWarning
from jinavec.ingest import Ingested, Progress
from jinavec.models import ModelProfile
from jinavec.records import Hit, Page, Record
from jinavec.settings import EncoderArguments, EncoderSettings
from jinavec.targets import open_engine
from jinavec.tasks import Role, Task, prompt

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "Contract",
    "Encoder",
    "EncoderArguments",
    "EncoderSettings",
    "Engine",
    "Hit",
    "Ingested",
    "JinavecError",
    "JinavecWarning",
    "ModelProfile",
    "Page",
    "Progress",
    "Record",
    "Report",
    "Role",
    "Task",
    "open_engine",
    "prompt",
]
