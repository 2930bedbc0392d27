"""Bodies about API keys, and about whoever asks."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tasker_core.access import ROLES, SUPERUSER, Permission, granted, usable_name

#: All that may be granted, as the OpenAPI document lists it.
_PERMISSIONS: Final = sorted({*Permission, *(f"{each.partition(':')[0]}:*" for each in Permission), SUPERUSER})


def _name(text: str) -> str:
    if not usable_name(text):
        raise PydanticCustomError("key", "it must be one line of 1 to 200 characters")
    return text


def _permission(text: str) -> str:
    if granted([text]).unknown:
        raise PydanticCustomError("key", "there is no such permission")
    return text


def _role(text: str) -> str:
    if granted(roles=[text]).unknown:
        raise PydanticCustomError("key", "there is no such role")
    return text


def _future(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise PydanticCustomError("key", "it is beyond the calendar") from None
    if moment <= datetime.now(UTC):
        raise PydanticCustomError("key", "it must be in the future")
    return moment


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]


class KeyRequest(BaseModel, extra="forbid"):
    """An API key to make. A field that nobody knows is refused: a limit that is misspelt must not be lost."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"subject": "checkout", "roles": ["submitter"], "namespaces": ["shop"]}],
            "anyOf": [
                {"required": [grants], "properties": {grants: {"minItems": 1}}} for grants in ("permissions", "roles")
            ],
        }
    )

    subject: Name = Field(description="Whom it is for: the actor of what is done with it.")
    permissions: list[Annotated[str, AfterValidator(_permission), Field(json_schema_extra={"enum": _PERMISSIONS})]] = (
        Field(default=[], description="What it allows: permissions, `resource:*` or `*`.")
    )
    roles: list[Annotated[str, AfterValidator(_role), Field(json_schema_extra={"enum": sorted(ROLES)})]] = Field(
        default=[], description="Roles whose permissions it has, too."
    )
    namespaces: list[Name] | None = Field(
        default=None, min_length=1, description="Where it allows that; everywhere if it is null."
    )
    expires_at: Annotated[datetime, AfterValidator(_future)] | None = Field(
        default=None, description="When it ends; never if it is null. A time without a zone is UTC."
    )

    @model_validator(mode="after")
    def _grants_something(self) -> Self:
        if not self.permissions and not self.roles:
            raise PydanticCustomError("key", "there must be a permission or a role")
        return self

    @property
    def granted(self) -> frozenset[Permission]:
        """What its permissions and roles amount to."""
        return granted(self.permissions, self.roles).permissions


class ApiKey(BaseModel):
    """An API key, without the key itself."""

    key_uuid: UUID
    hint: str = Field(description="The beginning of the key, to tell keys apart by.")
    subject: str
    status: Literal["active", "expired", "revoked"]
    permissions: list[str]
    namespaces: list[str] | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None = Field(description="To the minute.")


class NewApiKey(ApiKey):
    """An API key that was just made."""

    key: str = Field(description="The key itself; it cannot be seen again.")


class ApiKeyList(BaseModel):
    """API keys, newest first."""

    keys: list[ApiKey]


class Identity(BaseModel):
    """Whoever asks."""

    subject: str
    permissions: list[str]
    namespaces: list[str] | None = Field(description="Null: all.")
