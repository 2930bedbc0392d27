"""Connection profiles: which server commands and clients talk to, and with which credential."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from tasker_core.configuration.files import Document, read_toml
from tasker_core.configuration.findings import DEFAULT, FLAG, ConfigurationError, Finding, Origin, Source
from tasker_core.configuration.kinds import (
    WEB_URL,
    Section,
    Several,
    Texts,
    WebUrl,
    Whole,
    inconsistent,
    setting,
)
from tasker_core.configuration.loading import Given, flatten, settle
from tasker_core.configuration.placeholders import Text
from tasker_core.configuration.writing import toml_value
from tasker_core.template.findings import did_you_mean

#: The file of profiles, from the working directory.
PROFILE_FILE: Final = Path(".config/tasker.toml")

#: The profile that always applies, below the one that is chosen.
DEFAULT_PROFILE: Final = "default"

#: Where a server is, if nobody says.
DEFAULT_SERVER: Final = "http://localhost:8080"

_HEADER: Final = "X-API-Key"


class Credential(Section):
    """What a profile authenticates with."""

    token: SecretStr | None = None
    api_key: SecretStr | None = None
    header: str = _HEADER


def _credential(value: Any) -> Any:
    """Take a credential as it is written: ``{method = {type = "BearerToken", value = "…"}}``, or without ``method``."""
    method = value.get("method", value) if isinstance(value, dict) else None
    match method:
        case {"type": "BearerToken", "value": str(token)} | {"type": "Bearer" | "bearer", "token": str(token)}:
            return {"token": token}
        case {"type": "ApiKey" | "api_key", "value": {"key": str(key), **rest}} if rest.keys() <= {"header_name"}:
            return {"api_key": key, "header": rest.get("header_name", _HEADER)}
        case {"type": "api_key", "key": str(key), **rest} if rest.keys() <= {"type", "header"}:
            return {"api_key": key, "header": rest.get("header", _HEADER)}
    raise PydanticCustomError("kind", "no credential")


def _transport(value: Any) -> Any:
    return "rest" if value == "http" else value


class Endpoint(Section):
    """A server that a profile names."""

    base_url: WebUrl | None = setting(None, "Where it is.", expected=WEB_URL)
    timeout_ms: Whole = setting(30_000, "Longest wait for an answer.", unit="milliseconds", ge=1, le=3_600_000)
    max_retries: Whole = setting(3, "How often a request is tried again.", ge=0, le=10)
    auth: Annotated[Credential | None, BeforeValidator(_credential)] = setting(
        None,
        "What to authenticate with.",
        secret=True,
        expected='{method = {type = "BearerToken", value = "…"}} or '
        '{method = {type = "ApiKey", value = {key = "…", header_name = "X-API-Key"}}}',
    )


class Profile(Section):
    """A profile, with what it has from the default profile."""

    description: str = setting("", "What it is for.")
    transport: Annotated[Literal["rest", "grpc"], BeforeValidator(_transport)] = setting(
        "rest", "Kept for profiles of the reference system; HTTP is spoken in any case."
    )
    namespaces: Texts = setting((), "Namespaces to look at.")
    tools: Annotated[tuple[Literal["tier1", "tier2", "tier3"], ...], Several] = setting(
        (), "Groups of tools that the MCP server offers."
    )
    orchestration: Endpoint = setting(Endpoint, "")
    worker: Endpoint = setting(Endpoint, "")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.transport == "grpc" and self.orchestration.base_url is None and self.worker.base_url is None:
            raise inconsistent({"transport": "is grpc, which is not spoken here; give orchestration.base_url of HTTP"})
        return self


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A file of profiles.

    Attributes:
        path: the file; None if there is none.
        document: what it says.
        warnings: what to tell people about it.
    """

    path: Path | None
    document: Document
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the profiles that it has."""
        profiles = self.document.tree.get("profile")
        return tuple(profiles) if isinstance(profiles, dict) else ()


@dataclass(frozen=True, slots=True)
class Connection:
    """A server to talk to.

    Attributes:
        base_url: where it is; None if nobody chose a server.
        timeout_seconds: longest wait for an answer.
        max_retries: how often a request is tried again.
        token: bearer token to authenticate with.
        api_key: API key to authenticate with, if there is no token.
        header: header that carries the API key.
        namespaces: namespaces of the profile.
        profile: name of the profile that was chosen; None if only the default one applies.
        origins: where each of these comes from, by name.
    """

    base_url: str | None
    timeout_seconds: float = 30.0
    max_retries: int = 3
    token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    header: str = _HEADER
    namespaces: tuple[str, ...] = ()
    profile: str | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False, compare=False)


def places(variables: Mapping[str, str]) -> list[Path]:
    """Return where a file of profiles is looked for, the first one first; all others are old places."""
    home = Path(variables.get("HOME") or "~").expanduser()
    personal = Path(variables.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        PROFILE_FILE,
        Path(".config/tasker-client.toml"),
        Path("tasker-client.toml"),
        personal / "tasker" / "client.toml",
        home / ".tasker" / "client.toml",
    ]


def read_profiles(environment: Mapping[str, str] | None = None) -> ProfileFile:
    """Read the first file of profiles that there is.

    Raises:
        ConfigurationError: it cannot be read, or is no file of profiles.
    """
    variables = os.environ if environment is None else environment
    path = next((place for place in places(variables) if place.is_file()), None)
    if path is None:
        return ProfileFile(None, Document({}, {}, PROFILE_FILE))
    document = read_toml(path)
    profiles = document.tree.get("profile", {})
    findings = [
        Finding(
            "is not a table of a profile file", name, document.origin_of(name), did_you_mean(name, ["profile", "cli"])
        )
        for name in document.tree
        if name not in ("profile", "cli")
    ]
    if not isinstance(profiles, dict):
        findings.append(Finding("must be a table", "profile", document.origin_of("profile")))
    else:
        findings += [
            Finding("must be a table", f"profile.{name}", document.origin_of(f"profile.{name}"))
            for name, profile in profiles.items()
            if not isinstance(profile, dict)
        ]
    if findings:
        raise ConfigurationError(findings)
    old = (f"{path} is an old place for profiles; move it to {PROFILE_FILE}",) if path != PROFILE_FILE else ()
    return ProfileFile(path, document, old)


def resolve(
    file: ProfileFile, name: str | None = None, environment: Mapping[str, str] | None = None
) -> tuple[Profile, dict[str, Origin]]:
    """Return a profile on top of the default one, with the origin of each value; only the default one without a name.

    Raises:
        ConfigurationError: there is no such profile, or something in it is wrong.
    """
    variables = os.environ if environment is None else environment
    if name is not None and name not in file.names and name != DEFAULT_PROFILE:
        raise _unknown_profile(file, name)
    findings: list[Finding] = []
    given: dict[str, Given] = {}
    for layer in dict.fromkeys([DEFAULT_PROFILE, name or DEFAULT_PROFILE]):
        if layer in file.names:
            part = Document(file.document.tree["profile"][layer], file.document.lines, file.document.path)
            given |= flatten(Profile, part, findings, f"profile.{layer}.")
    return settle(Profile, given, variables, findings, f"profile.{name or DEFAULT_PROFILE}.")


def connect(
    profile: str | None = None,
    *,
    server: str | None = None,
    environment: Mapping[str, str] | None = None,
    file: ProfileFile | None = None,
) -> Connection:
    """Return the connection that a profile, the environment and an explicit server make together.

    The server is, in this order: ``server``; the chosen profile's (``profile``, else ``TASKER_CLIENT_PROFILE``);
    ``TASKER_ORCHESTRATION_URL``; the default profile's. For everything else the environment wins over profiles.

    Args:
        profile: name of a profile.
        server: URL of a server.
        environment: environment variables; those of the process by default.
        file: profiles read before; read from the usual places by default.

    Raises:
        ConfigurationError: something is wrong with any of them.
    """
    variables = os.environ if environment is None else environment
    file = file or read_profiles(variables)
    name = profile or variables.get("TASKER_CLIENT_PROFILE") or None
    settled, places_of = resolve(file, name, variables)
    endpoint = settled.orchestration
    origins = {
        "base_url": places_of["orchestration.base_url"],
        "timeout_seconds": places_of["orchestration.timeout_ms"],
        "max_retries": places_of["orchestration.max_retries"],
        "namespaces": places_of["namespaces"],
    }
    given = _from_environment(variables, server, own=name is not None and endpoint.base_url is not None)
    findings: list[Finding] = []
    overridden, origins_given = settle(Endpoint, given, variables, findings)
    credential, origins["credential"] = _credential_of(variables, endpoint, places_of["orchestration.auth"])
    if "base_url" in given:
        origins["base_url"] = origins_given["base_url"]
    if "timeout_ms" in given:
        origins["timeout_seconds"] = origins_given["timeout_ms"]
    timeout = overridden.timeout_ms if "timeout_ms" in given else endpoint.timeout_ms
    return Connection(
        base_url=overridden.base_url or endpoint.base_url,
        timeout_seconds=timeout / 1000,
        max_retries=endpoint.max_retries,
        token=credential.token.get_secret_value() if credential.token else None,
        api_key=credential.api_key.get_secret_value() if credential.api_key else None,
        header=credential.header,
        namespaces=settled.namespaces,
        profile=name,
        origins=origins,
    )


def target(
    *,
    server: str | None = None,
    database_url: str | None = None,
    profile: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Connection | None:
    """Return the server that a command talks to, or None if it works on the database itself.

    The first of these decides: ``server``; ``database_url``; a chosen profile with a server; the environment's
    ``TASKER_ORCHESTRATION_URL``; a default profile with a server. Without any of them it is the database.

    Raises:
        ConfigurationError: something is wrong with any of them.
    """
    if server is None and database_url is not None:
        return None
    connection = connect(profile, server=server, environment=environment)
    return connection if connection.base_url is not None else None


def _from_environment(variables: Mapping[str, str], server: str | None, *, own: bool) -> dict[str, Given]:
    """Return what is said outside of profiles; ``own`` says that a chosen profile has a server."""
    given = {}
    names = {"timeout_ms": "TASKER_ORCHESTRATION_TIMEOUT_MS"}
    if server is not None:
        given["base_url"] = Given(Text(server), FLAG)
    elif not own:
        names["base_url"] = "TASKER_ORCHESTRATION_URL"
    for key, name in names.items():
        if variables.get(name):
            given[key] = Given(Text(variables[name]), Origin(Source.ENVIRONMENT, name))
    return given


def _credential_of(variables: Mapping[str, str], endpoint: Endpoint, place: Origin) -> tuple[Credential, Origin]:
    for name in ("TASKER_ORCHESTRATION_AUTH_TOKEN", "TASKER_AUTH_TOKEN"):
        if token := variables.get(name):
            return Credential(token=SecretStr(token)), Origin(Source.ENVIRONMENT, name)
    if key := variables.get("TASKER_API_KEY"):
        header = variables.get("TASKER_API_KEY_HEADER") or _HEADER
        return Credential(api_key=SecretStr(key), header=header), Origin(Source.ENVIRONMENT, "TASKER_API_KEY")
    return (endpoint.auth, place) if endpoint.auth is not None else (Credential(), DEFAULT)


def _unknown_profile(file: ProfileFile, name: str) -> ConfigurationError:
    known = f"there are {', '.join(file.names)}" if file.names else "there are none"
    where = f" in {file.path}" if file.path else f"; {PROFILE_FILE} would have them"
    return ConfigurationError(
        [Finding(f"there is no profile {name!r}; {known}{where}", hint=did_you_mean(name, file.names))]
    )


#: A file of profiles to start from.
STARTER: Final = """\
# Connection profiles of Tasker: servers that commands can talk to instead of the database.
#
# tasker -p staging task list        uses the profile "staging"; so does TASKER_CLIENT_PROFILE=staging.
# [profile.default] always applies, below the profile that is chosen.
# ${NAME} and ${NAME:-default} stand for environment variables.

[profile.default]
# namespaces = ["shop"]

# [profile.default.orchestration]
# timeout_ms = 30000
# max_retries = 3

# [profile.staging]
# description = "where we try things"

# [profile.staging.orchestration]
# base_url = "https://tasker.staging.example"
# auth = {method = {type = "BearerToken", value = "${STAGING_TOKEN}"}}
# or: auth = {method = {type = "ApiKey", value = {key = "${STAGING_KEY}", header_name = "X-API-Key"}}}
"""


def new_profile(
    name: str,
    file: ProfileFile,
    *,
    server: str | None = None,
    description: str | None = None,
    namespaces: Sequence[str] = (),
    worker_url: str | None = None,
    tools: str | None = None,
) -> str:
    """Return the text that adds a profile to a file of profiles.

    Raises:
        ConfigurationError: the name or a value cannot be used, or there is such a profile.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigurationError([Finding(f"a profile's name has letters, digits, - and _ only, unlike {name!r}")])
    if name in file.names:
        raise ConfigurationError([Finding(f"there is a profile {name!r} already in {file.path}")])
    values = {
        "description": description,
        "namespaces": list(namespaces) or None,
        "tools": Text(tools) if tools is not None else None,
        "orchestration.base_url": server,
        "worker.base_url": worker_url,
    }
    given = {key: Given(value, FLAG) for key, value in values.items() if value is not None}
    profile, _ = settle(Profile, given, {}, [])
    lines = ["", f"[profile.{name}]"]
    lines += [f"description = {_quoted(profile.description)}"] if profile.description else []
    lines += [f"namespaces = {_quoted(profile.namespaces)}"] if profile.namespaces else []
    lines += [f"tools = {_quoted(profile.tools)}"] if profile.tools else []
    for table, endpoint in (("orchestration", profile.orchestration), ("worker", profile.worker)):
        if endpoint.base_url is not None:
            lines += ["", f"[profile.{name}.{table}]", f"base_url = {_quoted(endpoint.base_url)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: Any) -> str:
    """Return a value as TOML that means just this; nothing in it is a placeholder."""
    return toml_value(value).replace("${", "$${")
