"""Asking several resolvers in order."""

from collections.abc import Iterable
from typing import Any, Self

import structlog

from tasker_core.registry.base_resolver import BaseResolver, Config
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.registry.method_dispatch_wrapper import MethodDispatchWrapper
from tasker_core.registry.resolvers import ClassLookupResolver, ExplicitMappingResolver

_log = structlog.get_logger(__name__)


class ResolverNotFoundError(Exception):
    """A template names a resolver that the chain does not have."""


class ResolutionError(Exception):
    """For custom resolvers that want to raise; the chain itself returns None instead."""


class ResolverChain:
    """Resolvers in the order of their priority, lowest first."""

    def __init__(self, resolvers: Iterable[BaseResolver] = ()) -> None:
        self._resolvers: list[BaseResolver] = []
        for resolver in resolvers:
            self.add_resolver(resolver)

    @classmethod
    def default(cls) -> Self:
        """A chain of the two built-in resolvers: by registered name, then by class path."""
        return cls([ExplicitMappingResolver(), ClassLookupResolver()])

    def add_resolver(self, resolver: BaseResolver) -> Self:
        """Put a resolver in its place; among equal priorities the earlier added comes first."""
        # A new list, so that a resolution under way in another thread keeps the old one.
        self._resolvers = sorted([*self._resolvers, resolver], key=lambda each: each.priority)
        return self

    def remove_resolver(self, name: str) -> bool:
        """Take a resolver out; whether it was there."""
        remaining = [resolver for resolver in self._resolvers if resolver.name != name]
        removed = len(remaining) < len(self._resolvers)
        self._resolvers = remaining
        return removed

    def get_resolver(self, name: str) -> BaseResolver | None:
        """The resolver of that name, if any."""
        return next((resolver for resolver in self._resolvers if resolver.name == name), None)

    @property
    def explicit_resolver(self) -> ExplicitMappingResolver | None:
        """The table that `register` writes to, if the chain has one."""
        return next((each for each in self._resolvers if isinstance(each, ExplicitMappingResolver)), None)

    def register(self, key: str | BaseResolver, handler: Any = None) -> Self:
        """Register a handler under ``key`` in the chain's table; a resolver is added to the chain.

        Raises ``RuntimeError`` if the chain has no table.
        """
        if isinstance(key, BaseResolver):
            return self.add_resolver(key)
        if self.explicit_resolver is None:
            raise RuntimeError("No ExplicitMappingResolver in chain")
        self.explicit_resolver.register(key, handler)
        return self

    def resolve(self, definition: HandlerDefinition, config: Config = None) -> Any:
        """The handler for a definition, wrapped if another method than ``call`` is wanted.

        A definition with a resolver hint is given to that resolver alone. None if there is no
        such handler or method. Raises `ResolverNotFoundError` for an unknown hint.
        """
        handler = self._find(definition, config)
        return None if handler is None else self.wrap_for_method_dispatch(handler, definition)

    def _find(self, definition: HandlerDefinition, config: Config) -> Any:
        if definition.resolver:
            hinted = self.get_resolver(definition.resolver)
            if hinted is None:
                raise ResolverNotFoundError(
                    f"Unknown resolver '{definition.resolver}'; the chain has {self.resolver_names}"
                )
            return hinted.resolve(definition, config)
        for resolver in self._resolvers:
            if resolver.can_resolve(definition, config):
                handler = resolver.resolve(definition, config)
                if handler is not None:
                    return handler
        return None

    def can_resolve(self, definition: HandlerDefinition, config: Config = None) -> bool:
        """Whether any resolver, or the hinted one, would try."""
        if definition.resolver:
            hinted = self.get_resolver(definition.resolver)
            return hinted is not None and hinted.can_resolve(definition, config)
        return any(resolver.can_resolve(definition, config) for resolver in self._resolvers)

    def wrap_for_method_dispatch(self, handler: Any, definition: HandlerDefinition) -> Any:
        """The handler with ``call`` being the wanted method; None if it has no such method."""
        if not definition.uses_method_dispatch():
            return handler
        try:
            return MethodDispatchWrapper(handler, definition.effective_method())
        except AttributeError as error:
            _log.warning("handler.method_missing", callable=definition.callable, reason=str(error))
            return None

    def registered_callables(self) -> list[str]:
        """The callables that the chain's resolvers know in advance."""
        return list(dict.fromkeys(name for each in self._resolvers for name in each.registered_callables()))

    def chain_info(self) -> list[dict[str, Any]]:
        """Each resolver's ``name``, ``priority`` and number of known ``callables``, in order."""
        return [
            {"name": each.name, "priority": each.priority, "callables": len(each.registered_callables())}
            for each in self._resolvers
        ]

    @property
    def resolver_names(self) -> list[str]:
        """The resolvers' names, in order."""
        return [resolver.name for resolver in self._resolvers]

    def list_resolvers(self) -> list[tuple[str, int]]:
        """The resolvers' names and priorities, in order."""
        return [(resolver.name, resolver.priority) for resolver in self._resolvers]

    def __len__(self) -> int:
        return len(self._resolvers)
