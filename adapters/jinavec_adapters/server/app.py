"""The routes, as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException

import jinavec
from jinavec.tasks import Role
from jinavec.wire import eis
from jinavec.wire.fields import dumps
from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server.admission import Admission
from jinavec_adapters.server.auth import ApiKeys, sent_keys
from jinavec_adapters.server.embedding import Embedding
from jinavec_adapters.server.handler import Handler, error_response, note
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.middleware import AccessLog
from jinavec_adapters.server.models import Models
from jinavec_adapters.server.protocols import EIS, OPENAI, ROUTES, TEI, Protocol
from jinavec_adapters.server.settings import ServerSettings

Respond = Callable[[Request], Awaitable[Response]]


def create_app(settings: ServerSettings, models: Models, metrics: Metrics) -> FastAPI:
    """Return the application that serves models; closes them at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        handler.close()
        models.close()

    app = FastAPI(
        title="jinavec",
        version=jinavec.__version__,
        lifespan=lifespan,
        redirect_slashes=False,  # which would name the host that the request names
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    keys = ApiKeys(settings.keys())
    handler = Handler(settings, keys, Embedding(models, settings), metrics)
    for path, (protocol, role) in ROUTES.items():
        app.add_api_route(path, _embed(handler, protocol, role), methods=["POST"], **_described(protocol))
    _add_metadata(app, keys, models, settings)
    _add_operations(app, keys, models, metrics)
    _add_public(app, ApiKeys(()) if settings.public_info else keys, models)
    app.add_exception_handler(HTTPException, _http_error)  # pyright: ignore[reportArgumentType]
    app.add_middleware(Admission, metrics=metrics)
    app.add_middleware(AccessLog, metrics=metrics)
    return app


def _embed(handler: Handler, protocol: Protocol, role: Role | None) -> Respond:
    async def embed(request: Request) -> Response:
        return await handler.handle(request, protocol, role)

    return embed


def _add_metadata(app: FastAPI, keys: ApiKeys, models: Models, settings: ServerSettings) -> None:
    """Add what clients ask about the models, each in its protocol."""

    async def authorizations(request: Request) -> Response:
        return _guarded(EIS, keys, request, lambda: eis.encode_authorizations(models.endpoints()))

    async def list_models(request: Request) -> Response:
        return _guarded(OPENAI, keys, request, lambda: dumps({"object": "list", "data": models.describe()}))

    async def info(request: Request) -> Response:
        return _guarded(TEI, keys, request, lambda: dumps(_info(models, settings)))

    app.add_api_route("/api/v2/authorizations", authorizations, response_class=Response, tags=["eis"])
    for prefix in ("", "/query", "/document"):
        app.add_api_route(f"{prefix}/v1/models", list_models, response_class=Response, tags=["openai"])
    app.add_api_route("/info", info, response_class=Response, tags=["tei"])


def _add_operations(app: FastAPI, keys: ApiKeys, models: Models, metrics: Metrics) -> None:
    """Add what operators ask; whether the server lives needs no key."""

    async def health(request: Request) -> Response:
        return _json(dumps({"status": "ok"}))

    async def show_metrics(request: Request) -> Response:
        response = _guarded(OPENAI, keys, request, metrics.render)
        if response.status_code == 200:
            response.headers["content-type"] = "text/plain; version=0.0.4; charset=utf-8"
        return response

    for path, endpoint in (("/health", health), ("/metrics", show_metrics)):
        app.add_api_route(path, endpoint, response_class=Response, tags=["operators"])


def _add_public(app: FastAPI, keys: ApiKeys, models: Models) -> None:
    """Add what tells of the server and its models; whether it is ready needs no key, what is ready does."""

    async def ready(request: Request) -> Response:
        listed = {"models": models.describe()} if keys.know(sent_keys(request.headers)) else {}
        return _json(dumps({"status": "ready", **listed}))

    async def document(request: Request) -> Response:
        return _guarded(OPENAI, keys, request, lambda: dumps(app.openapi()))

    async def docs(request: Request) -> Response:
        page = get_swagger_ui_html(openapi_url="/openapi.json", title=app.title)
        response = _guarded(OPENAI, keys, request, lambda: bytes(page.body))
        if response.status_code == 200:
            response.headers["content-type"] = "text/html; charset=utf-8"
        return response

    app.add_api_route("/ready", ready, response_class=Response, tags=["operators"])
    app.add_api_route("/openapi.json", document, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)


def _guarded(protocol: Protocol, keys: ApiKeys, request: Request, answer: Callable[[], bytes]) -> Response:
    try:
        keys.check(sent_keys(request.headers))
    except WireError as error:
        return error_response(protocol, error)
    note(request, protocol=protocol.name)
    return _json(answer())


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _info(models: Models, settings: ServerSettings) -> dict[str, Any]:
    first = models.served[0]
    backend = first.batcher.encoder.backend
    return {
        "model_id": first.profile.name,
        "model_sha": backend.revision or None,
        "model_dtype": backend.precision,
        "model_type": {"embedding": {"pooling": first.profile.pooling}},
        "max_concurrent_requests": settings.max_requests,
        "max_input_length": first.profile.limit,
        "max_batch_tokens": first.batcher.budget,
        "max_client_batch_size": settings.max_inputs,
        "auto_truncate": settings.overflow == "truncate",
        "version": jinavec.__version__,
    }


def _described(protocol: Protocol) -> dict[str, Any]:
    """Return what the OpenAPI document says about a route; its statuses are those of the codec."""
    answers = {protocol.codec.encode_error(WireError(reason, ""))[0] for reason in Reason if reason is not Reason.BUSY}
    return {
        "response_class": Response,
        "tags": [protocol.name],
        "responses": {status: {"description": "refused, in the protocol's own words"} for status in sorted(answers)},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": protocol.schema}}}
        },
    }


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Answer for an address or a method that is not there."""
    return Response(dumps({"error": error.detail}), error.status_code, error.headers, "application/json")
