"""All settings of Tasker: names, types, defaults, meaning."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import structlog
from pydantic import BeforeValidator, SecretStr, model_validator

from tasker_core.configuration.findings import DEFAULT, ConfigurationError, Finding
from tasker_core.configuration.keys import Key, keys
from tasker_core.configuration.kinds import (
    ADDRESS,
    WEB_URL,
    Address,
    DatabaseUrl,
    Flag,
    Number,
    Section,
    Several,
    Texts,
    WebUrl,
    Whole,
    inconsistent,
    setting,
)
from tasker_core.configuration.loading import Loaded, load

#: Directory of the embedded PostgreSQL, in the project.
DATA_DIRECTORY = ".tasker"

_MEBIBYTE = 1024 * 1024

log = structlog.get_logger("tasker.configuration")


def nearest_data_directory() -> Path:
    """Return the nearest ``.tasker`` directory here or above, else where a new one belongs: here."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / DATA_DIRECTORY).is_dir():
            return directory / DATA_DIRECTORY
    return here / DATA_DIRECTORY


class DatabaseSettings(Section):
    """The PostgreSQL database that holds everything."""

    url: DatabaseUrl | None = setting(
        None,
        "PostgreSQL to use. Without one, the project's embedded PostgreSQL is.",
        environment=["DATABASE_URL"],
        secret=True,
        expected="a URL that begins with postgresql://",
        default_words="embedded PostgreSQL",
    )
    max_connections: Whole = setting(8, "Most connections that one process opens.", ge=1, le=1000)
    acquire_timeout_seconds: Number = setting(
        5.0, "Longest wait for a free connection.", unit="seconds", gt=0, le=300, allow_inf_nan=False
    )
    data_directory: Path = setting(
        nearest_data_directory,
        "Where the embedded PostgreSQL keeps its data.",
        environment=["TASKER_DATA_DIR"],
        default_words="the nearest `.tasker` here or above, else a new one here",
    )


_ALGORITHMS = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class ApiKeySettings(Section):
    """An API key and what it may do."""

    key: SecretStr | None = setting(None, "The key itself. Give it, or `key_sha256`.", secret=True, min_length=1)
    key_sha256: str | None = setting(
        None, "SHA-256 of the key, in hexadecimal.", expected="64 hexadecimal digits", pattern=r"^[0-9a-fA-F]{64}$"
    )
    permissions: Texts = setting((), "What the key may do, such as `tasks:read` or `tasks:*`.")
    roles: Texts = setting((), "Roles of the key: named sets of permissions.")
    namespaces: Texts | None = setting(None, "Where the key may do so.", default_words="everywhere")
    description: str = setting("", "Who the key belongs to; the name in the history.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.key is None) == (self.key_sha256 is None):
            raise inconsistent({"": "needs either key or key_sha256"})
        return self


class AuthSettings(Section):
    """Who may use the server."""

    enabled: Flag = setting(False, "Whether requests need a credential. If not, everybody may do everything.")
    jwt_issuer: str = setting("tasker-core", "`iss` of the tokens that are accepted.", min_length=1)
    jwt_audience: str = setting("tasker-api", "`aud` of the tokens that are accepted.", min_length=1)
    jwt_verification_method: Literal["public_key", "jwks"] = setting(
        "public_key", "Where the keys that verify tokens come from: this configuration, or a JWKS document."
    )
    jwt_public_key: str | None = setting(
        None, "Public key that verifies tokens, in PEM.", environment=["TASKER_JWT_PUBLIC_KEY"]
    )
    jwt_public_key_path: Path | None = setting(
        None,
        "File of the public key that verifies tokens; wins over `jwt_public_key`.",
        environment=["TASKER_JWT_PUBLIC_KEY_PATH"],
    )
    jwks_url: WebUrl | None = setting(None, "Where the JWKS document is.", expected=WEB_URL)
    jwks_refresh_interval_seconds: Whole = setting(
        3600, "How long fetched keys count as fresh.", unit="seconds", ge=1, le=604_800
    )
    jwks_max_stale_seconds: Whole = setting(
        300, "How long keys serve on past that if they cannot be fetched.", unit="seconds", ge=0, le=604_800
    )
    jwks_url_allow_http: Flag = setting(False, "Whether `jwks_url` may be plain HTTP and on this machine; for tests.")
    jwt_allowed_algorithms: Annotated[tuple[_ALGORITHMS, ...], Several] = setting(
        ("RS256",), "Signature algorithms that are accepted.", min_length=1
    )
    permissions_claim: str = setting("permissions", "Claim of a token that lists its permissions.", min_length=1)
    strict_validation: Flag = setting(True, "Whether a credential with an unknown permission is refused as a whole.")
    log_unknown_permissions: Flag = setting(True, "Whether unknown permissions are logged.")
    api_key_header: str = setting(
        "X-API-Key",
        "Header that carries an API key.",
        expected="the name of an HTTP header",
        pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    )
    api_keys_enabled: Flag = setting(False, "Whether API keys are accepted, those here and those in the database.")
    api_keys: Annotated[tuple[ApiKeySettings, ...], Several] = setting(
        (), "API keys. More can be made in the database at any time.", secret=True
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.enabled and (problems := self._problems()):
            raise inconsistent(problems)
        return self

    def _problems(self) -> dict[str, str]:
        problems = {}
        has_key = self.jwt_public_key is not None or self.jwt_public_key_path is not None
        if self.jwt_verification_method == "jwks" and self.jwks_url is None:
            problems["jwt_verification_method"] = "is jwks, which needs jwks_url"
        elif self.jwt_verification_method == "public_key" and self.jwks_url is not None:
            problems["jwks_url"] = "has no effect unless jwt_verification_method is jwks"
        elif self.jwks_url is None and not has_key and not self.api_keys_enabled:
            problems["enabled"] = (
                "is true, which needs jwt_public_key_path, jwt_public_key, jwks_url or api_keys_enabled"
            )
        if self.jwks_url is not None and self.jwks_url.startswith("http:") and not self.jwks_url_allow_http:
            problems.setdefault("jwks_url", "must begin with https:// unless jwks_url_allow_http is true")
        if self.api_keys and not self.api_keys_enabled:
            problems["api_keys"] = "has no effect unless api_keys_enabled is true"
        return problems


class ServerSettings(Section):
    """The HTTP server."""

    bind: Address = setting(
        "127.0.0.1:8080",
        "Address and port to listen on.",
        environment=["TASKER_WEB_BIND_ADDRESS"],
        expected=ADDRESS,
    )
    request_timeout_ms: Whole = setting(
        30_000, "Longest time until a response begins.", unit="milliseconds", ge=1, le=3_600_000
    )
    max_body_bytes: Whole = setting(16 * _MEBIBYTE, "Largest request body.", unit="bytes", ge=1024, le=1024 * _MEBIBYTE)
    cors_origins: Texts = setting((), "Origins of browsers that may call, such as `https://shop.example`; `*` for all.")
    config_endpoint_enabled: Flag = setting(False, "Whether `GET /config` exists.")
    shutdown_timeout_seconds: Number = setting(
        30.0, "How long running requests may take to finish at the end.", unit="seconds", ge=0, le=3600,
        allow_inf_nan=False,
    )  # fmt: skip
    tls_cert: Path | None = setting(None, "Certificate chain, in PEM; with `tls_key` the server speaks HTTPS.")
    tls_key: Path | None = setting(None, "Private key of the certificate, in PEM.")
    allow_unauthenticated: Flag = setting(
        False, "Whether to serve without authentication where other machines can reach the server."
    )
    auth: AuthSettings = setting(AuthSettings, "")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tls_cert is not None and self.tls_key is None:
            raise inconsistent({"tls_cert": "needs tls_key, too"})
        if self.tls_key is not None and self.tls_cert is None:
            raise inconsistent({"tls_key": "needs tls_cert, too"})
        return self


_Limit = Whole | None


class AdmissionSettings(Section):
    """When the creation of tasks is refused for a while."""

    max_queue_depth: _Limit = setting(None, "Most steps that may wait.", unit="steps", ge=1, default_words="no limit")
    max_queue_depth_per_namespace: _Limit = setting(
        None, "Most steps of one namespace that may wait.", unit="steps", ge=1, default_words="no limit"
    )
    max_queue_age_seconds: Number | None = setting(
        None, "Longest time that a step may have waited.", unit="seconds", gt=0, allow_inf_nan=False,
        default_words="no limit",
    )  # fmt: skip


class EngineSettings(Section):
    """The engine."""

    environment: str | None = setting(
        None,
        "Name of the environment; its overrides in templates apply to new tasks.",
        environment=["TASKER_ENV"],
        default_words="none",
    )
    lease_seconds: Number = setting(
        30.0,
        "How long a worker that is not heard of keeps its steps.",
        unit="seconds",
        environment=["TASKER_LEASE_SECONDS"],
        gt=0,
        allow_inf_nan=False,
    )


class WorkerSettings(Section):
    """Worker processes."""

    server: WebUrl | None = setting(
        None,
        "Server to work for.",
        environment=["TASKER_ORCHESTRATION_URL"],
        expected=WEB_URL,
        default_words="the database itself",
    )
    namespaces: Texts = setting(
        (), "Namespaces to work for.", environment=["TASKER_NAMESPACE"], default_words="those of the templates"
    )
    concurrency: Whole = setting(10, "Handlers that run at once in a process.", ge=1, le=10_000)
    default_timeout_seconds: Number = setting(
        300.0, "How long a step may run whose template does not say.", unit="seconds", gt=0, allow_inf_nan=False
    )
    shutdown_timeout_seconds: Number = setting(
        30.0, "How long running handlers may take to finish at the end.", unit="seconds", ge=0, allow_inf_nan=False
    )
    health_bind: Address | None = setting(
        None, "Address and port of the worker's own health checks.", expected=ADDRESS, default_words="none"
    )
    worker_id: str | None = setting(
        None,
        "Name of the worker in the history.",
        environment=["TASKER_WORKER_ID", "TASKER_INSTANCE_ID"],
        default_words="host name and process id",
    )


class TemplateSettings(Section):
    """Task templates."""

    paths: Annotated[tuple[Path, ...], Several] = setting(
        (),
        "Files and directories of task templates.",
        environment=["TASKER_TEMPLATE_PATH"],
        default_words="`config/tasks`",
    )


_OTHER_LEVELS = {"warn": "warning", "trace": "debug", "off": "critical"}


def _log_level(value: Any) -> Any:
    """Take what Rust's loggers are given, too: other names, and ``info,module=debug``, which means ``info``."""
    if not isinstance(value, str):
        return value
    words = value.lower().replace(" ", "").split(",")
    word = next((word for word in words if "=" not in word), words[0].rpartition("=")[2])
    return _OTHER_LEVELS.get(word, word)


class LogSettings(Section):
    """Logging."""

    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_log_level)] = setting(
        "info", "Least weighty lines to log.", environment=["LOG_LEVEL", "RUST_LOG"]
    )
    format: Literal["auto", "console", "json"] = setting(
        "auto", "How lines look; `auto` is `console` on a terminal and `json` elsewhere."
    )


class Settings(Section):
    """Everything that can be set."""

    database: DatabaseSettings = setting(DatabaseSettings, "")
    server: ServerSettings = setting(ServerSettings, "")
    admission: AdmissionSettings = setting(AdmissionSettings, "")
    engine: EngineSettings = setting(EngineSettings, "")
    worker: WorkerSettings = setting(WorkerSettings, "")
    templates: TemplateSettings = setting(TemplateSettings, "")
    log: LogSettings = setting(LogSettings, "")

    @classmethod
    def load(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        file: Path | None = None,
        flags: Mapping[str, Any] | None = None,
    ) -> "Loaded[Settings]":
        """Return the settings with where each comes from.

        Args:
            environment: environment variables; those of the process by default.
            file: configuration file, or directory in the reference system's layout; by default that of
                ``TASKER_CONFIG_PATH``, else ``tasker.toml`` or ``config/tasker.toml`` here, if there is one.
            flags: values from the command line by dotted key; those that are None do not count.

        Raises:
            ConfigurationError: with all that is wrong.
        """
        return load(cls, os.environ if environment is None else environment, file=file, flags=flags or {})

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, *, database_url: str | None = None) -> "Settings":
        """Return the settings of this process, and log what has no effect; an explicit ``database_url`` wins.

        Raises:
            ConfigurationError: with all that is wrong.
        """
        loaded = cls.load(environment, flags={"database.url": database_url})
        for warning in loaded.warnings:
            log.warning(str(warning))
        return loaded.settings


def settings_keys() -> list[Key]:
    """Return all settings there are."""
    return list(keys(Settings))


def check_server(loaded: "Loaded[Settings]") -> None:
    """Check what only a server needs: its files, and that it is not open to other machines by mistake.

    Raises:
        ConfigurationError: with all that is wrong.
    """
    server, auth = loaded.settings.server, loaded.settings.server.auth
    files = {"server.tls_cert": server.tls_cert, "server.tls_key": server.tls_key}
    if auth.enabled and auth.jwt_verification_method == "public_key":
        files["server.auth.jwt_public_key_path"] = auth.jwt_public_key_path
    problems = {key: reason for key, path in files.items() if path is not None and (reason := _unreadable(path))}
    if not auth.enabled and not server.allow_unauthenticated and not is_loopback(server.bind):
        problems["server.bind"] = (
            f"is {server.bind}, which other machines can reach, and server.auth.enabled is false; "
            "enable it, bind to 127.0.0.1, or set server.allow_unauthenticated to true"
        )
    if problems:
        raise ConfigurationError(
            Finding(message, key, loaded.origins.get(key, DEFAULT)) for key, message in problems.items()
        )


def is_loopback(bind: str) -> bool:
    """Return whether only this machine can reach an address ``host:port``."""
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unreadable(path: Path) -> str:
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        return f"names {str(path)!r}, which cannot be read: {getattr(error, 'strerror', None) or error}"
    return ""
