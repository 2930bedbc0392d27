"""The OpenAPI document, and a page that shows it without anything from elsewhere."""

from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from tasker_core.server.auth_options import AuthOptions
from tasker_core.server.schemas.errors import ErrorBody

_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}

#: What the framework says about bodies that it refuses; we answer in our envelope.
_FRAMEWORK_SCHEMAS: Final = ("HTTPValidationError", "ValidationError")

_CONVENTIONS: Final = """Every error is `{"error": {"code", "message"}}`, with `details` for single fields.

Times are RFC 3339 in UTC, as in `2030-01-31T08:00:00.000000Z`; one that is sent without a zone is taken as UTC.

Query parameters that nobody knows are passed over. Fields of bodies that nobody knows are refused, except in the worker
protocol.

Paths have no slash at the end; there is nothing at those that do (404). A path answers the methods that are listed here
and no others, `HEAD` and `OPTIONS` included (405, with `Allow`)."""

_PAGE: Final = {
    "ui": ("page.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}

#: The page loads nothing but itself, and nobody can put it into a frame.
_POLICY: Final = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'"


def install(app: FastAPI) -> None:
    """Let an application describe itself at ``/api-docs/openapi.json`` and show that at ``/api-docs/ui``."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    for path, (file, media_type) in _PAGE.items():
        app.add_api_route(f"/api-docs/{path}", _page(file, media_type), include_in_schema=False)


def _page(file: str, media_type: str) -> Any:
    text = resources.files("tasker_core.server").joinpath("static", file).read_text("utf-8")

    async def page() -> Response:
        return Response(text, media_type=media_type, headers={"Content-Security-Policy": _POLICY})

    return page


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=f"{app.description}\n\n{_CONVENTIONS}",
        license_info=app.license_info,
        routes=app.routes,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    if "ErrorBody" not in schemas:
        error = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(error.pop("$defs"))
        schemas["ErrorBody"] = error
    for operation in _operations(document):
        _set_right(operation)
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
    options: AuthOptions = getattr(app.state.authenticator, "options", AuthOptions())
    components["securitySchemes"] = {
        "bearer_auth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "api_key_auth": {"type": "apiKey", "in": "header", "name": options.api_key_header},
    }
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from (operation for operation in path.values() if "responses" in operation)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out as that of one that is there, which is never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**options[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _set_right(operation: dict[str, Any]) -> None:
    """Say of an operation what our answers are where the framework says what its own would be."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
        # Parameters that cannot be read are a bad request.
        responses.setdefault("400", {"description": "The request cannot be carried out as it is", "content": _ERROR})
    if "requestBody" in operation:
        responses.setdefault("413", {"description": "The body is too large", "content": _ERROR})
        responses.setdefault("422", {"description": "The body has the wrong content", "content": _ERROR})
    for status, answer in responses.items():
        # The framework takes the media type of a route's success for that of its errors.
        if status >= "400" and answer.get("content", {}).keys() - {"application/json"}:
            answer["content"] = {"application/json": next(iter(answer["content"].values()))}
