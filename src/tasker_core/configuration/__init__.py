"""What Tasker is told from outside: settings of a process, and profiles of servers to talk to."""

from tasker_core.configuration.findings import ConfigurationError, Finding, Origin, Source
from tasker_core.configuration.keys import Key
from tasker_core.configuration.loading import Loaded
from tasker_core.configuration.masking import masked, masked_url
from tasker_core.configuration.settings import (
    DATA_DIRECTORY,
    ApiKeySettings,
    AuthSettings,
    LogSettings,
    ServerSettings,
    Settings,
    WorkerSettings,
    check_server,
    is_loopback,
    settings_keys,
)

__all__ = [
    "DATA_DIRECTORY",
    "ApiKeySettings",
    "AuthSettings",
    "ConfigurationError",
    "Finding",
    "Key",
    "Loaded",
    "LogSettings",
    "Origin",
    "ServerSettings",
    "Settings",
    "Source",
    "WorkerSettings",
    "check_server",
    "is_loopback",
    "masked",
    "masked_url",
    "settings_keys",
]
