"""JSON in and out, one place.

msgspec is used because it keeps integers of any size exact and is several times faster than the standard
library. What JSON cannot say is refused rather than bent: NaN and infinities, lone surrogates, NUL characters
(PostgreSQL stores none) and objects without a JSON form.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic


class SerializationError(ValueError):
    """A value has no faithful JSON form; the message says where and why."""


def _encode_other(value: object) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_encode_other)
_decoder = msgspec.json.Decoder()


def dumps(value: object) -> str:
    """Encode a value as compact JSON text.

    Dates, UUIDs, decimals, enums, dataclasses and pydantic models are written in their usual JSON form.

    Raises:
        SerializationError: the value, or something inside it, has no faithful JSON form.
    """
    try:
        encoded = _encoder.encode(value)
        text = encoded.decode()
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise SerializationError(f"not JSON-serialisable: {error}") from error
    # The two silent losses of the encoder leave these traces, so the slow search runs only when there is one.
    if b"null" in encoded:
        _refuse(value, lambda leaf: isinstance(leaf, float) and not math.isfinite(leaf), "is not a finite number")
    if b"\\u0000" in encoded:
        _refuse(value, lambda leaf: isinstance(leaf, str) and "\x00" in leaf, "contains a NUL character")
    return text


def encode(value: object) -> bytes:
    """Encode a value that is known to have a JSON form, such as one that was decoded, without a look at it."""
    return _encoder.encode(value)


def canonical(value: object) -> bytes:
    """Encode a value that `dumps` takes so that equal values are equal texts: with the keys of objects sorted."""
    return msgspec.json.encode(value, enc_hook=_encode_other, order="sorted")


def loads(text: str | bytes) -> Any:
    """Decode JSON text.

    Raises:
        SerializationError: the text is not valid JSON.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise SerializationError(f"not valid JSON: {error}") from error


def _refuse(value: object, is_bad: Callable[[object], bool], complaint: str) -> None:
    """Find the first bad value and raise, naming its place."""

    def search(part: object, path: str) -> None:
        if is_bad(part):
            raise SerializationError(f"not JSON-serialisable: the value at {path} {complaint}")
        if isinstance(part, dict):
            for key, item in part.items():
                if is_bad(key):
                    raise SerializationError(f"not JSON-serialisable: a key of {path} {complaint}")
                search(item, f"{path}.{key}")
        elif isinstance(part, list | tuple):
            for index, item in enumerate(part):
                search(item, f"{path}[{index}]")

    # The same conversions as the encoder makes, so that it sees into dataclasses and models, too.
    search(msgspec.to_builtins(value, str_keys=True, enc_hook=_encode_other), "$")


def rfc3339(moment: datetime) -> str:
    """Return a time with a zone as RFC 3339 text in UTC, to the microsecond, as in ``2030-01-31T08:00:00.000000Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
