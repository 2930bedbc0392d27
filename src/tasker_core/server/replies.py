"""Responses, encoded once."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from tasker_core import serialization


def reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response.

    Routes answer with it instead of returning the body, which the framework would validate and encode again.
    """
    return Response(
        serialization.encode(body), status_code=status, headers=dict(headers or {}), media_type="application/json"
    )
