"""A server put together from settings."""

from pathlib import Path

from fastapi import FastAPI

from tasker_core.configuration import AuthSettings, Settings
from tasker_core.orchestration import Engine
from tasker_core.server.admission import AdmissionLimits
from tasker_core.server.app import ServerOptions, create_app
from tasker_core.server.auth_options import ApiKeyOptions, AuthOptions
from tasker_core.server.authentication import authenticator_for
from tasker_core.server.serving import Address


def service_app(engine: Engine, settings: Settings, *, log_requests: bool = False) -> FastAPI:
    """Return the application of a server on an open engine.

    Args:
        engine: the engine.
        settings: how to serve.
        log_requests: log a line for each request.

    Raises:
        ConfigurationError: the settings of authentication cannot be used.
    """
    server = settings.server
    options = ServerOptions(
        max_body_bytes=server.max_body_bytes,
        request_timeout_seconds=server.request_timeout_ms / 1000,
        cors_origins=server.cors_origins,
        config_endpoint_enabled=server.config_endpoint_enabled,
        environment=settings.engine.environment,
        log_requests=log_requests,
        admission=AdmissionLimits(**settings.admission.model_dump()),
    )
    return create_app(engine, authenticator=authenticator_for(auth_options(server.auth), engine), options=options)


def service_address(settings: Settings, *, shared: bool = False) -> Address:
    """Return where a server is to listen; ``shared`` lets other processes listen there, too."""
    host, _, port = settings.server.bind.rpartition(":")
    return Address(host.strip("[]"), int(port), settings.server.tls_cert, settings.server.tls_key, shared=shared)


def auth_options(settings: AuthSettings) -> AuthOptions:
    """Return settings of authentication as the server takes them; a public key's file is read."""
    values = settings.model_dump(exclude={"jwt_public_key_path", "api_keys"})
    if settings.jwt_public_key_path is not None:
        values["jwt_public_key"] = Path(settings.jwt_public_key_path).read_text(encoding="ascii")
    keys = [
        ApiKeyOptions(**key.model_dump(exclude={"key"}), key=None if key.key is None else key.key.get_secret_value())
        for key in settings.api_keys
    ]
    return AuthOptions(**values, api_keys=keys)
