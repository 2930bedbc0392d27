"""What a resolver is: a way to get from a handler definition to a handler."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import structlog

from tasker_core.registry.handler_definition import HandlerDefinition

_log = structlog.get_logger(__name__)

Config = Mapping[str, Any] | None


class BaseResolver(ABC):
    """Finds handlers by one rule; a `ResolverChain` asks several, lowest ``priority`` first.

    ``config`` is passed through from the caller of the chain.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What a template's ``handler.resolver`` calls this resolver."""

    @property
    @abstractmethod
    def priority(self) -> int:
        """The place in the chain: lower is asked earlier."""

    @abstractmethod
    def can_resolve(self, definition: HandlerDefinition, config: Config = None) -> bool:
        """Whether to ask this resolver at all."""

    @abstractmethod
    def resolve(self, definition: HandlerDefinition, config: Config = None) -> Any:
        """The handler, ready to be called; None if there is none."""

    def registered_callables(self) -> list[str]:
        """The callables known in advance; empty for a resolver that goes by a rule."""
        return []


def instantiate_handler(handler_class: type, definition: HandlerDefinition) -> Any:
    """Make a handler, without arguments or else with ``config=definition.initialization``.

    None if neither works, since a handler that cannot be made is as good as missing; the reason
    is logged.
    """
    try:
        try:
            return handler_class()
        except TypeError:
            return handler_class(config=definition.initialization)
    except Exception:  # noqa: BLE001 - a constructor is user code and may raise anything
        _log.warning("handler.instantiation_failed", callable=definition.callable, exc_info=True)
        return None
