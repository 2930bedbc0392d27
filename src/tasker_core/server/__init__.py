"""The HTTP API: parse a request, call one use case, render what it says."""

from tasker_core.server.app import ServerOptions, create_app

__all__ = ["ServerOptions", "create_app"]
