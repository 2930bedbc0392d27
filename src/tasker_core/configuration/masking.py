"""Values as they may be shown: without secrets."""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

MASK = "***"

#: From the scheme to the last @ before the path; a password that is not encoded may itself contain @, : or #.
_PASSWORD = re.compile(r"^([^:/?#]+://[^:/@]*):.*@", re.DOTALL)
_PASSWORD_PARAMETER = re.compile(r"([?&](?:password|sslpassword|passfile|token|api_key|secret)=)[^&#]*", re.IGNORECASE)


def masked_url(url: str) -> str:
    """Return a URL without its password, fit for people's eyes."""
    return _PASSWORD_PARAMETER.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", url))


def masked(value: Any) -> Any:
    """Return a setting's value as JSON data in which nothing is secret."""
    match value:
        case SecretStr():
            return _masked_secret(value.get_secret_value())
        case BaseModel():
            return {name: masked(getattr(value, name)) for name in type(value).model_fields}
        case str():
            return masked_url(value) if "://" in value else value
        case list() | tuple():
            return [masked(item) for item in value]
        case Path():
            return str(value)
    return value


def _masked_secret(secret: str) -> str:
    return masked_url(secret) if re.match(r"postgres(ql)?(\+\w+)?://", secret) else MASK
