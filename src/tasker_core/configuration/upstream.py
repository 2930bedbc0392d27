"""Configuration files of the reference system: what of them has a counterpart here, and what has no effect."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Final

from tasker_core.configuration.files import Document
from tasker_core.configuration.findings import Finding, Origin
from tasker_core.configuration.placeholders import Text
from tasker_core.template.findings import did_you_mean


def _same(value: Any) -> Any:
    return value


def _seconds(milliseconds: Any) -> Any:
    """Return seconds; what is no number is left as it is, and refused as what it is."""
    if not isinstance(milliseconds, int | float | Text) or isinstance(milliseconds, bool):
        return milliseconds
    try:
        return float(milliseconds) / 1000
    except (ValueError, OverflowError):
        return milliseconds


def _directories(globs: Any) -> Any:
    """Return the directories that patterns such as ``config/tasks/**/*.yaml`` look into."""
    return list(dict.fromkeys(map(_directory, globs))) if isinstance(globs, list) else globs


def _directory(glob: Any) -> Any:
    if not isinstance(glob, str):
        return glob
    parts = PurePath(glob).parts
    plain = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[{") and "${" not in part), len(parts))
    return str(PurePath(*parts[:plain]))


_AUTH = (
    "enabled", "jwt_issuer", "jwt_audience", "jwt_verification_method", "jwt_public_key", "jwt_public_key_path",
    "jwks_url", "jwks_refresh_interval_seconds", "jwks_max_stale_seconds", "jwks_url_allow_http",
    "jwt_allowed_algorithms", "permissions_claim", "strict_validation", "log_unknown_permissions",
    "api_key_header", "api_keys_enabled", "api_keys",
)  # fmt: skip

#: By key of the reference system: our key, and how the value becomes ours.
COUNTERPARTS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "common.database.url": ("database.url", _same),
    "common.database.pool.max_connections": ("database.max_connections", _same),
    "common.database.pool.acquire_timeout_seconds": ("database.acquire_timeout_seconds", _same),
    "common.execution.environment": ("engine.environment", _same),
    "common.queues.default_visibility_timeout_seconds": ("engine.lease_seconds", _same),
    "common.task_templates.search_paths": ("templates.paths", _directories),
    "orchestration.shutdown_timeout_ms": ("server.shutdown_timeout_seconds", _seconds),
    "orchestration.web.bind_address": ("server.bind", _same),
    "orchestration.web.request_timeout_ms": ("server.request_timeout_ms", _same),
    "orchestration.web.config_endpoint_enabled": ("server.config_endpoint_enabled", _same),
    **{f"orchestration.web.auth.{name}": (f"server.auth.{name}", _same) for name in _AUTH},
    "worker.worker_id": ("worker.worker_id", _same),
    "worker.web.bind_address": ("worker.health_bind", _same),
    "worker.orchestration_client.base_url": ("worker.server", _same),
    "worker.mpsc_channels.handler_dispatch.max_concurrent_handlers": ("worker.concurrency", _same),
    "worker.mpsc_channels.handler_dispatch.handler_timeout_ms": ("worker.default_timeout_seconds", _seconds),
}

#: Keys and tables of the reference system that have no counterpart here.
WITHOUT_EFFECT: Final = (
    "common.backoff", "common.cache", "common.circuit_breakers", "common.database.database",
    "common.database.pool.idle_timeout_seconds", "common.database.pool.max_lifetime_seconds",
    "common.database.pool.min_connections", "common.database.pool.slow_acquire_threshold_ms",
    "common.database.variables", "common.database.skip_migration_check", "common.execution", "common.mpsc_channels",
    "common.pgmq_database", "common.queues", "common.system", "common.task_templates", "common.telemetry",
    "orchestration.batch_processing", "orchestration.decision_points", "orchestration.dlq",
    "orchestration.enable_performance_logging", "orchestration.event_systems", "orchestration.grpc",
    "orchestration.mode", "orchestration.mpsc_channels", "orchestration.web.auth.api_key",
    "orchestration.web.auth.jwt_private_key", "orchestration.web.auth.jwt_token_expiry_hours",
    "orchestration.web.cors", "orchestration.web.database_pools", "orchestration.web.enabled",
    "orchestration.web.rate_limiting", "orchestration.web.resilience", "orchestration.web.tls",
    "worker.circuit_breakers", "worker.event_systems", "worker.grpc", "worker.health_monitoring",
    "worker.mpsc_channels", "worker.orchestration_client", "worker.step_processing", "worker.web",
    "worker.worker_type",
)  # fmt: skip

#: Tables that our own ``[worker]`` does not have.
_TABLES_OF_WORKER = {"circuit_breakers", "event_systems", "grpc", "mpsc_channels", "orchestration_client", "web"}

Conversion = Callable[[Any], Any]
Translated = dict[str, tuple[Any, Origin, Conversion]]


def is_upstream(tree: Mapping[str, Any]) -> bool:
    """Return whether a configuration file is laid out as the reference system's are."""
    worker = tree.get("worker")
    own = isinstance(worker, dict) and bool(_TABLES_OF_WORKER & worker.keys())
    return own or "common" in tree or "orchestration" in tree


def translate(document: Document) -> tuple[Translated, list[Finding], list[Finding]]:
    """Return what there is for our keys, the keys that nobody knows, and warnings of those without effect.

    For each of our keys there is the value as it is written, where that is, and how it becomes ours.
    """
    values: Translated = {}
    unknown: list[Finding] = []
    without_effect: dict[str, Finding] = {}
    for key, value in _leaves(document.tree):
        origin = document.origin_of(key)
        if key in COUNTERPARTS:
            ours, convert = COUNTERPARTS[key]
            values[ours] = (value, origin, convert)
        elif table := _table_without_effect(key):
            without_effect.setdefault(table, Finding("has no effect", table, origin))
        else:
            unknown.append(Finding("is not a setting", key, origin, did_you_mean(key, COUNTERPARTS)))
    return values, unknown, list(without_effect.values())


def _leaves(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for name, value in tree.items():
        key = f"{path}{name}"
        if name.endswith("_docs"):
            continue
        if isinstance(value, dict) and key not in COUNTERPARTS:
            leaves += _leaves(value, f"{key}.")
        else:
            leaves.append((key, value))
    return leaves


def _table_without_effect(key: str) -> str:
    return next((table for table in WITHOUT_EFFECT if f"{key}.".startswith(f"{table}.")), "")
