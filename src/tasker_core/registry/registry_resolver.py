"""The base class for an application's own resolvers."""

import re
from typing import Any

from tasker_core.registry.base_resolver import BaseResolver, Config
from tasker_core.registry.handler_definition import HandlerDefinition


class RegistryResolver(BaseResolver):
    """Resolves the callables that match ``pattern``, or without one, start with ``prefix``.

    A subclass overrides `resolve_handler` and sets ``_name``, ``_priority`` (or plain ``name``
    and ``priority``), and one of the other two.
    """

    _name: str = "custom_resolver"
    _priority: int = 50
    pattern: str | re.Pattern[str] | None = None
    """A regular expression, matched from the start of the callable."""
    prefix: str | None = None

    @property
    def name(self) -> str:
        """``_name``."""
        return self._name

    @property
    def priority(self) -> int:
        """``_priority``; the built-in resolvers have 10 and 100."""
        return self._priority

    def can_resolve(
        self,
        definition: HandlerDefinition,
        config: Config = None,  # noqa: ARG002 - other resolvers use it
    ) -> bool:
        """Whether the callable matches."""
        if self.pattern is not None:
            return self._match_pattern(definition.callable) is not None
        return self.prefix is not None and definition.callable.startswith(self.prefix)

    def resolve(self, definition: HandlerDefinition, config: Config = None) -> Any:
        """What `resolve_handler` returns."""
        return self.resolve_handler(definition, config)

    def resolve_handler(self, definition: HandlerDefinition, config: Config = None) -> Any:
        """Make or find the handler; None if there is none."""
        raise NotImplementedError(f"{type(self).__name__} must override resolve_handler")

    def _match_pattern(self, callable_name: str) -> re.Match[str] | None:
        return None if self.pattern is None else re.match(self.pattern, callable_name)
