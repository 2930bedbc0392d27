"""Where a client finds the server and what it shows there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Self
from urllib.parse import urlsplit

DEFAULT_URL: Final = "http://localhost:8080"

DEFAULT_TIMEOUT_SECONDS: Final = 30.0

DEFAULT_API_KEY_HEADER: Final = "X-API-Key"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a client connects.

    Attributes:
        base_url: the server, without a slash at the end.
        headers: what goes with every request.
        timeout: seconds to wait for a connection or for the next part of an answer.
        max_retries: most repeats of a request.
    """

    base_url: str
    headers: Mapping[str, str]
    timeout: float
    max_retries: int

    @classmethod
    def of(
        cls,
        *,
        base_url: str | None = None,
        token: str | None = None,
        api_key: str | None = None,
        api_key_header: str | None = None,
        timeout: float | None = None,
        max_retries: int = 3,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Complete what is given from environment variables.

        A credential that is given is used alone; those of the environment count in the order
        ``TASKER_ORCHESTRATION_AUTH_TOKEN``, ``TASKER_AUTH_TOKEN``, ``TASKER_API_KEY``.

        Raises:
            ValueError: a setting has a value that cannot be used.
        """
        variables = os.environ if environment is None else environment
        if token is None and api_key is None:
            token = variables.get("TASKER_ORCHESTRATION_AUTH_TOKEN") or variables.get("TASKER_AUTH_TOKEN") or None
            api_key = variables.get("TASKER_API_KEY") or None
        header = api_key_header or variables.get("TASKER_API_KEY_HEADER") or DEFAULT_API_KEY_HEADER
        headers = {"Accept": "application/json", "User-Agent": f"tasker-core-python/{metadata.version('tasker-core')}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        elif api_key is not None:
            headers[header] = api_key
        if max_retries < 0:
            raise ValueError(f"max_retries must be at least 0, not {max_retries}")
        return cls(
            base_url=_checked_url(base_url or variables.get("TASKER_ORCHESTRATION_URL") or DEFAULT_URL),
            headers=headers,
            timeout=_seconds(timeout, variables),
            max_retries=max_retries,
        )


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"the server's URL must begin with http:// or https:// and name a host, not {url!r}")
    return url.rstrip("/")


def _seconds(timeout: float | None, variables: Mapping[str, str]) -> float:
    name, given = "timeout", timeout
    if given is None:
        name, text = "TASKER_ORCHESTRATION_TIMEOUT_MS", variables.get("TASKER_ORCHESTRATION_TIMEOUT_MS")
        if not text:
            return DEFAULT_TIMEOUT_SECONDS
        try:
            given = float(text) / 1000
        except ValueError:
            raise ValueError(f"{name} must be a number of milliseconds, not {text!r}") from None
    if not 0 < given < float("inf"):
        raise ValueError(f"{name} must be above 0")
    return given
