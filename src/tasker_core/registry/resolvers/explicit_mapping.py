"""Handlers by the name they were registered under."""

import threading
from typing import Any

import structlog

from tasker_core.registry.base_resolver import BaseResolver, Config, instantiate_handler
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.step_handler.functional import handler_class_of

_log = structlog.get_logger(__name__)


class ExplicitMappingResolver(BaseResolver):
    """A table from callables to handlers. May be used from several threads."""

    def __init__(self, name: str = "explicit_mapping") -> None:
        self._name = name
        self._handlers: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """As given to the constructor."""
        return self._name

    @property
    def priority(self) -> int:
        """10: asked before all rules."""
        return 10

    def register(self, key: str, handler: Any) -> None:
        """Add an entry, replacing one with the same key.

        ``handler`` is a handler class or decorated function (a new instance for every
        resolution), a factory taking the resolution's config, or an instance.
        """
        with self._lock:
            self._handlers[key] = handler_class_of(handler) or handler

    def unregister(self, key: str) -> bool:
        """Remove an entry; whether there was one."""
        with self._lock:
            return self._handlers.pop(key, None) is not None

    def registered_callables(self) -> list[str]:
        """The keys, in the order of registration."""
        with self._lock:
            return list(self._handlers)

    def can_resolve(
        self,
        definition: HandlerDefinition,
        config: Config = None,  # noqa: ARG002 - other resolvers use it
    ) -> bool:
        """Whether exactly this callable is registered."""
        with self._lock:
            return definition.callable in self._handlers

    def resolve(self, definition: HandlerDefinition, config: Config = None) -> Any:
        """The handler for this callable; None if it is not registered or cannot be made."""
        with self._lock:
            handler = self._handlers.get(definition.callable)
        if isinstance(handler, type):
            return instantiate_handler(handler, definition)
        if handler is None or hasattr(handler, "call") or not callable(handler):
            return handler
        try:
            return handler(definition.initialization if config is None else config)
        except Exception:  # noqa: BLE001 - a factory is user code and may raise anything
            _log.warning("handler.factory_failed", callable=definition.callable, exc_info=True)
            return None
