"""One HTTP server, many protocols: EIS, Qdrant's inference, Jina, OpenAI, TEI and Cohere over the same encoders."""

from jinavec import extras

for _module in ("fastapi", "uvicorn", "pydantic_settings", "prometheus_client", "pythonjsonlogger", "orjson"):
    extras.require(_module, "server")

from jinavec_adapters.server.app import create_app  # noqa: E402
from jinavec_adapters.server.models import Models  # noqa: E402
from jinavec_adapters.server.run import serve  # noqa: E402
from jinavec_adapters.server.settings import ServedModel, ServerSettings  # noqa: E402

__all__ = ["Models", "ServedModel", "ServerSettings", "create_app", "serve"]
