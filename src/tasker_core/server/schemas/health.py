"""The bodies of health, metrics and configuration."""

from typing import Literal

from pydantic import BaseModel

from tasker_core.server.schemas.errors import ErrorObject


class HealthResponse(BaseModel):
    """The process answers."""

    status: Literal["healthy", "alive"]
    timestamp: str


class HealthCheck(BaseModel):
    """What one check found."""

    status: Literal["healthy", "degraded", "unhealthy", "unknown"]
    message: str | None
    duration_ms: int


class PoolUtilization(BaseModel):
    """How the connections of this process to the database are used."""

    active_connections: int
    idle_connections: int
    max_connections: int
    utilization_percent: float
    total_acquires: int
    slow_acquires: int
    acquire_errors: int
    average_acquire_time_ms: float
    max_acquire_time_ms: float


class PoolUtilizations(BaseModel):
    """One pool serves everything."""

    tasker_pool: PoolUtilization


class HealthInfo(BaseModel):
    """What runs here."""

    version: str
    environment: str | None
    operational_state: Literal["Startup", "Normal", "GracefulShutdown"]
    web_database_pool_size: int
    orchestration_database_pool_size: int
    pool_utilization: PoolUtilizations


class ReadinessResponse(BaseModel):
    """The server can serve."""

    status: Literal["ready"]
    timestamp: str
    checks: dict[str, HealthCheck]
    info: HealthInfo


class NotReadyResponse(BaseModel):
    """The server cannot serve just now: the error, and which checks failed."""

    error: ErrorObject
    status: Literal["not_ready"]
    timestamp: str
    checks: dict[str, HealthCheck]
    info: HealthInfo


class DetailedHealthResponse(BaseModel):
    """All checks."""

    status: Literal["healthy", "degraded"]
    timestamp: str
    checks: dict[str, HealthCheck]
    info: HealthInfo


class ConfigMetadata(BaseModel):
    """Where the configuration is from."""

    timestamp: str
    environment: str | None
    version: str


class AuthConfig(BaseModel):
    """How callers are found out; no keys, no secrets."""

    enabled: bool
    verification_method: str
    jwt_issuer: str | None
    jwt_audience: str | None
    api_key_header: str
    api_key_count: int
    strict_validation: bool
    allowed_algorithms: list[str]


class DatabasePoolsConfig(BaseModel):
    """Connections to the database."""

    web_api_pool_size: int
    web_api_max_connections: int


class LimitsConfig(BaseModel):
    """What a request may be."""

    max_body_bytes: int
    request_timeout_seconds: float
    max_event_streams: int


class AdmissionConfig(BaseModel):
    """When creation of tasks is refused for a while; null switches a limit off."""

    max_queue_depth: int | None
    max_queue_depth_per_namespace: int | None
    max_queue_age_seconds: float | None
    max_pool_wait_seconds: float | None


class MessagingConfig(BaseModel):
    """The queue is a table of the database."""

    backend: Literal["postgresql"]


class ConfigResponse(BaseModel):
    """The configuration, as far as it is no secret."""

    metadata: ConfigMetadata
    auth: AuthConfig
    database_pools: DatabasePoolsConfig
    limits: LimitsConfig
    admission: AdmissionConfig
    lease_seconds: float
    messaging: MessagingConfig
