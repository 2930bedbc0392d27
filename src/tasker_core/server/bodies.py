"""JSON bodies of requests: read once, checked against a model, described in the OpenAPI document."""

import re
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from tasker_core import serialization
from tasker_core.server.errors import ApiError, invalid, invalid_request
from tasker_core.template.findings import did_you_mean

#: The escape of a first surrogate without a second one behind it, or of a second one without a first before it.
_LONE_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)

_Model = TypeVar("_Model")


async def read(request: Request, adapter: TypeAdapter[_Model]) -> _Model:
    """Return a request's body as its model; an empty body counts as an object without fields.

    Raises:
        ApiError: the body is no JSON (400, 415), or its content is wrong (422).
    """
    value, has_nul = await read_json(request)
    return checked(value, adapter, has_nul=has_nul)


async def read_json(request: Request) -> tuple[Any, bool]:
    """Return a request's body as JSON, and whether a NUL character may be somewhere in it.

    Raises:
        ApiError: the body is no JSON (400, 415), or holds half a character (422).
    """
    raw = await request.body()
    if not raw:
        return {}, False
    if not _is_json(request.headers.get("content-type")):
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Expected request with `Content-Type: application/json`")
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise ApiError(400, "JSON_ERROR", "Invalid JSON format: it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ApiError(400, "JSON_ERROR", "Invalid JSON format: it is not UTF-8") from None
    except msgspec.DecodeError as error:
        if _LONE_SURROGATE.search(raw):
            raise invalid("Request body failed validation: half of a surrogate pair is no text") from None
        raise ApiError(400, "JSON_ERROR", f"Invalid JSON format: {error}") from None
    return value, b"\\u0000" in raw


def checked(value: Any, adapter: TypeAdapter[_Model], *, has_nul: bool = False) -> _Model:
    """Return JSON as a model.

    Raises:
        ApiError: 422, with a detail for everything that is wrong.
    """
    if has_nul:
        try:
            serialization.dumps(value)
        except serialization.SerializationError as error:
            raise invalid(f"Request body failed validation: {error}") from None
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        found = [_finding(dict(each), value, adapter) for each in error.errors(include_url=False)]
    raise invalid_request(found)


def described(model: Any, *, required: bool = True) -> dict[str, Any]:
    """Return what a route takes in ``openapi_extra`` to say that its body is this model."""
    schema = TypeAdapter(model).json_schema()
    return {
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": _inlined(schema, schema.pop("$defs", {}))}},
        }
    }


def _is_json(content_type: str | None) -> bool:
    message = Message()
    message["content-type"] = content_type or "none"
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _finding(error: dict[str, Any], value: Any, adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Return what is wrong with a value in the words of this API."""
    location = list(_location(error["loc"], value))
    message = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            message = _unknown_field(str(location[-1]), adapter)
        case "model_type" | "model_attributes_type" | "dict_type":
            message = "Input should be an object"
        case "union_tag_invalid":
            location.append(error["ctx"]["discriminator"].strip("'"))
            message = f"Input should be one of {error['ctx']['expected_tags']}"
        case "union_tag_not_found":
            location.append(error["ctx"]["discriminator"].strip("'"))
            message = "Field required"
    return {"type": error["type"], "loc": ("body", *location), "msg": message}


def _location(parts: Sequence[int | str], value: Any) -> Iterator[int | str]:
    """Return a place without the names of alternatives among models, which are no part of the body."""
    for position, part in enumerate(parts):
        is_last = position == len(parts) - 1
        if isinstance(value, Mapping) and part not in value and not is_last:
            continue
        yield part
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]


def _unknown_field(name: str, adapter: TypeAdapter[Any]) -> str:
    hint = did_you_mean(name, sorted(_field_names(adapter.json_schema())))
    return "There is no such field" + (f"; {hint}" if hint else "")


def _field_names(schema: Any) -> set[str]:
    names: set[str] = set()
    for part in (schema, *schema.get("$defs", {}).values()):
        names |= set(part.get("properties", {}))
    return names


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema with its definitions in the places that refer to them, since it will be a part of another."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(part, definitions) for key, part in schema.items() if key != "discriminator"}


class Body(BaseModel, extra="forbid", strict=True):
    """What all bodies of requests have in common: a field that nobody knows is an error, and so is a wrong type."""
