"""Handlers by where their code is: ``package.module.ClassName``."""

import importlib
from typing import Any

import structlog

from tasker_core.registry.base_resolver import BaseResolver, Config, instantiate_handler
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.step_handler.functional import handler_class_of

_log = structlog.get_logger(__name__)


class ClassLookupResolver(BaseResolver):
    """Imports the module of a dotted callable and takes the class or decorated function from it."""

    @property
    def name(self) -> str:
        """``class_lookup``."""
        return "class_lookup"

    @property
    def priority(self) -> int:
        """100: asked when nothing else knows the callable."""
        return 100

    def can_resolve(
        self,
        definition: HandlerDefinition,
        config: Config = None,  # noqa: ARG002 - other resolvers use it
    ) -> bool:
        """Whether the callable looks like a dotted class path, or is that of a decorated function.

        Only importing the module tells a decorated function from any other dotted name.
        """
        return _is_class_path(definition.callable) or lookup_handler_class(definition.callable) is not None

    def resolve(
        self,
        definition: HandlerDefinition,
        config: Config = None,  # noqa: ARG002 - other resolvers use it
    ) -> Any:
        """A new instance; None if there is no such class or it cannot be made."""
        handler_class = lookup_handler_class(definition.callable)
        return None if handler_class is None else instantiate_handler(handler_class, definition)


def lookup_handler_class(path: str) -> type | None:
    """The class at a dotted path, or the handler class of the decorated function there.

    None if there is neither, or if the module cannot be imported, which is logged.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name or not attribute:
        return None
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except Exception as error:  # noqa: BLE001 - a module is user code and may raise anything
        if not _is_missing(module_name, error):
            _log.warning("handler.import_failed", callable=path, exc_info=True)
        return None
    if isinstance(found, type):
        return found if _is_class_path(path) else None
    return handler_class_of(found)


def _is_missing(module_name: str, error: Exception) -> bool:
    """Whether the module itself does not exist, as opposed to one that it imports."""
    return isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")


def _is_class_path(path: str) -> bool:
    module_name, _, class_name = path.rpartition(".")
    return bool(module_name) and "A" <= class_name[:1] <= "Z"
