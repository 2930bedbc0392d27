"""Kinds of values, and settings declared with all that is to be said about them."""

import json
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, SecretStr
from pydantic_core import PydanticCustomError

from tasker_core.configuration.placeholders import Text


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def setting(
    default: Any,
    description: str,
    *,
    unit: str = "",
    environment: Sequence[str] = (),
    secret: bool = False,
    expected: str = "",
    default_words: str = "",
    **limits: Any,
) -> Any:
    """Declare a setting.

    Args:
        default: its value if nobody gives one; a callable is called for it.
        description: what it does, in a sentence or two.
        unit: of a number, such as ``seconds``.
        environment: names of environment variables that set it, the weightiest first.
        secret: whether its value is never shown.
        expected: what its value must be, in words, if its type and limits do not tell.
        default_words: what holds by default, in words, if the default does not tell.
        limits: ``ge``, ``gt``, ``le``, ``min_length`` and the like, as for `pydantic.Field`.
    """
    about: dict[str, JsonValue] = {
        "unit": unit,
        "environment": list(environment),
        "secret": secret,
        "expected": expected,
        "default_words": default_words,
    }
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=description, json_schema_extra=about, **limits)


def _no_quotes(value: Any) -> Any:
    """Let only texts that come from the environment stand for numbers and booleans, and no boolean for a number."""
    if isinstance(value, bool) or (isinstance(value, str) and not isinstance(value, Text)):
        raise PydanticCustomError("kind", "not a number")
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool | Text):
        raise PydanticCustomError("kind", "not a boolean")
    return value


def _several(value: Any) -> Any:
    """Take a text from the environment apart: JSON, or texts with commas between."""
    if not isinstance(value, Text):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise PydanticCustomError("kind", "not JSON") from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _host_and_port(text: str) -> str:
    host, separator, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") and host.endswith("]") else host
    hostname = bool(bare) and not any(character in bare for character in "/ @[]?#")
    if not separator or not hostname or (":" in bare) is (bare == host) or not _is_port(port):
        raise PydanticCustomError("kind", "not an address")
    return text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65_535


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return None if port == 0 else parts


def _database_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise ValueError("must start with postgresql://, as in postgresql://user:password@host/name")
    parts = _split(text)
    # A password that is not encoded may cut the URL short in a way that leaves a valid port behind.
    if parts is None or "#" in text or ("@" not in parts.netloc and "@" in parts.path + parts.query):
        raise ValueError("has no valid host and port; is every special character of the password written as %XX?")
    return url


def _web_url(url: str) -> str:
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or any(map(str.isspace, url)):
        raise PydanticCustomError("kind", "not a URL")
    return url.rstrip("/")


Whole = Annotated[int, BeforeValidator(_no_quotes)]
Number = Annotated[float, BeforeValidator(_no_quotes)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Several = BeforeValidator(_several)
Texts = Annotated[tuple[str, ...], Several]
Address = Annotated[str, AfterValidator(_host_and_port)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
WebUrl = Annotated[str, AfterValidator(_web_url)]

#: What values of these kinds look like, for `setting`.
ADDRESS = "an address with a port, such as 127.0.0.1:8080"
WEB_URL = "a URL that begins with http:// or https://"


def inconsistent(problems: dict[str, str]) -> PydanticCustomError:
    """Return the error to raise for settings that do not go together.

    Args:
        problems: by the name of a setting of the section, what is wrong with it.
    """
    return PydanticCustomError("inconsistent", "inconsistent settings", {"problems": problems})
