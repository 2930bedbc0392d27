"""The handlers a worker knows."""

import importlib
import os
import pkgutil
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeAlias

import structlog

from tasker_core.models import HandlerWrapper
from tasker_core.registry.base_resolver import instantiate_handler
from tasker_core.registry.handler_definition import HandlerDefinition
from tasker_core.registry.resolver_chain import ResolverChain
from tasker_core.registry.resolvers.class_lookup import lookup_handler_class
from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.functional import declared_handler_class, handler_class_of
from tasker_core.template_discovery import HandlerDiscovery, TemplatePath

__all__ = ["HandlerRegistry", "HandlerSpec", "StepHandler"]

HandlerSpec: TypeAlias = str | HandlerDefinition | HandlerWrapper

_log = structlog.get_logger(__name__)

# Parts of the names of modules that a test run is taken to have imported handlers from.
_TEST_MODULE_NAMES = ("handlers", "step_handler", "workflow", "test")


class HandlerRegistry:
    """Handlers by name, and the resolver chain that finds one for a step.

    ``HandlerRegistry()`` is empty. `instance` is the one of the process.
    """

    _instance: ClassVar["HandlerRegistry | None"] = None
    _instance_lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self) -> None:
        self._handlers: dict[str, type[StepHandler]] = {}
        self._resolver_chain = ResolverChain.default()
        self._bootstrapped = False

    @classmethod
    def instance(cls, skip_bootstrap: bool = False) -> "HandlerRegistry":
        """The process's registry; making it runs `bootstrap_handlers` unless skipped."""
        with cls._instance_lock:
            if HandlerRegistry._instance is None:
                HandlerRegistry._instance = cls()
                if not skip_bootstrap:
                    HandlerRegistry._instance.bootstrap_handlers()
            return HandlerRegistry._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Forget the process's registry; the next `instance` makes a new one."""
        with cls._instance_lock:
            HandlerRegistry._instance = None

    @property
    def resolver_chain(self) -> ResolverChain:
        """The chain that `resolve` asks; add your own resolvers to it."""
        return self._resolver_chain

    def register(self, name: str, handler_class: Any) -> None:
        """Register a `StepHandler` subclass or a decorated function, replacing one of that name.

        Raises ``ValueError`` for anything else.
        """
        registered = handler_class_of(handler_class) or handler_class
        if not (isinstance(registered, type) and issubclass(registered, StepHandler)):
            raise ValueError(  # noqa: TRY004 - callers catch ValueError
                f"cannot register {handler_class!r} as {name!r}: "
                "it is neither a StepHandler subclass nor a decorated function"
            )
        if self._handlers.get(name, registered) is not registered:
            _log.warning("handler.overwritten", name=name, handler_class=registered.__qualname__)
        self._handlers[name] = registered
        if self._resolver_chain.explicit_resolver is not None:
            self._resolver_chain.register(name, registered)

    def unregister(self, name: str) -> bool:
        """Remove a handler; whether there was one of that name."""
        if self._resolver_chain.explicit_resolver is not None:
            self._resolver_chain.explicit_resolver.unregister(name)
        return self._handlers.pop(name, None) is not None

    def is_registered(self, name: str) -> bool:
        """Whether there is a handler of that name."""
        return name in self._handlers

    def list_handlers(self) -> list[str]:
        """The names of all registered handlers."""
        return list(self._handlers)

    def handler_count(self) -> int:
        """The number of registered names."""
        return len(self._handlers)

    def get_handler_class(self, name: str) -> type[StepHandler] | None:
        """The class registered under a name, if any."""
        return self._handlers.get(name)

    def clear(self) -> None:
        """Back to an empty registry with the default chain, ready to bootstrap again."""
        self._handlers.clear()
        self._resolver_chain = ResolverChain.default()
        self._bootstrapped = False

    def resolve(self, handler_spec: HandlerSpec) -> Any:
        """The handler for a callable's name or a whole definition; None if there is none.

        Registered classes yield a new instance each time. A definition's ``handler_method`` is
        wrapped so that ``call`` invokes it; None if the handler lacks it. Decorated functions
        that were never registered are found by name last, if their module has been imported.

        Raises `ResolverNotFoundError` if the definition names an unknown resolver.
        """
        definition = _as_definition(handler_spec)
        if definition is None:
            return None
        handler = self._resolver_chain.resolve(definition)
        if handler is not None or definition.has_resolver_hint():
            return handler
        return self._resolve_declared(definition)

    def _resolve_declared(self, definition: HandlerDefinition) -> Any:
        handler_class = declared_handler_class(definition.callable)
        if handler_class is None:
            return None
        handler = instantiate_handler(handler_class, definition)
        return self._resolver_chain.wrap_for_method_dispatch(handler, definition)

    def discover_handlers(self, package_name: str, base_class: type[StepHandler] | None = None) -> int:
        """Import a package with all its submodules and register the handlers found there.

        These are the subclasses of ``base_class`` (by default `StepHandler`) that have a
        ``handler_name``, and decorated functions. Names a module merely imported count too. A
        submodule that fails to import is logged and skipped, and so is a missing package.
        Returns the number of handlers.
        """
        base = base_class or StepHandler
        try:
            package = importlib.import_module(package_name)
        except ImportError:
            _log.warning("handler.discovery_failed", module=package_name, exc_info=True)
            return 0
        found = self._register_from_modules([package, *_import_submodules(package)], base)
        return len(found)

    def bootstrap_handlers(self) -> int:
        """Register the handlers that can be found without being told where; at most once.

        These are the ones named in the templates on disk (see `TemplatePath`). If ``TASKER_ENV``
        is ``test``, those in modules imported already come first, and only without any such
        handler the templates. Returns the number of handlers.
        """
        if self._bootstrapped:
            return 0
        self._bootstrapped = True
        count = 0
        if os.environ.get("TASKER_ENV") == "test":
            loaded = [
                module
                for name, module in list(sys.modules.items())
                if any(part in name for part in _TEST_MODULE_NAMES) and isinstance(module, ModuleType)
            ]
            count = len(self._register_from_modules(loaded, StepHandler))
        if count == 0:
            directory = TemplatePath.find_template_config_directory()
            count = 0 if directory is None else self._register_from_templates(directory)
        return count

    def template_discovery_info(self) -> dict[str, Any]:
        """What template discovery sees and what came of it, for people who look for a handler."""
        directory = TemplatePath.find_template_config_directory()
        return {
            "template_path": None if directory is None else str(directory),
            "template_files": [
                str(file) for file in (TemplatePath.discover_template_files(directory) if directory else [])
            ],
            "discovered_handlers": HandlerDiscovery.discover_all_handlers(directory) if directory else [],
            "handlers_by_namespace": (HandlerDiscovery.discover_handlers_by_namespace(directory) if directory else {}),
            "environment": os.environ.get("TASKER_ENV", "development"),
            "bootstrapped": self._bootstrapped,
        }

    def _scan_module_for_handlers(self, module: ModuleType, base_class: type) -> int:
        return len(self._register_from_modules([module], base_class))

    def _register_from_modules(self, modules: Iterable[ModuleType], base_class: type) -> set[type[StepHandler]]:
        found: set[type[StepHandler]] = set()
        for module in modules:
            for candidate in list(vars(module).values()):
                handler_class = _as_handler_class(candidate, base_class)
                if handler_class is not None:
                    self.register(handler_class.handler_name, handler_class)
                    found.add(handler_class)
        return found

    def _register_from_templates(self, directory: Path) -> int:
        found: set[type[StepHandler]] = set()
        for path in HandlerDiscovery.discover_all_handlers(directory):
            handler_class = lookup_handler_class(path)
            if handler_class is None or not issubclass(handler_class, StepHandler):
                continue
            self.register(path, handler_class)
            if handler_class.handler_name:
                self.register(handler_class.handler_name, handler_class)
            found.add(handler_class)
        return len(found)


def _as_definition(handler_spec: object) -> HandlerDefinition | None:
    match handler_spec:
        case str():
            return HandlerDefinition.from_callable(handler_spec)
        case HandlerDefinition():
            return handler_spec
        case HandlerWrapper():
            return HandlerDefinition.from_wrapper(handler_spec)
        case _:
            return None


def _as_handler_class(candidate: object, base_class: type) -> type[StepHandler] | None:
    handler_class = candidate if isinstance(candidate, type) else handler_class_of(candidate)
    if (
        handler_class is None
        or handler_class is base_class
        or not issubclass(handler_class, base_class)
        or not issubclass(handler_class, StepHandler)
    ):
        return None
    return handler_class if handler_class.handler_name else None


def _import_submodules(package: ModuleType) -> Iterable[ModuleType]:
    def ignore(_: str) -> None:
        """Do nothing: a package that cannot be walked has failed to import below, and been logged."""

    paths = getattr(package, "__path__", [])
    for module_info in pkgutil.walk_packages(paths, f"{package.__name__}.", onerror=ignore):
        # Importing a package's __main__ would run its program.
        if module_info.name.endswith(".__main__"):
            continue
        try:
            yield importlib.import_module(module_info.name)
        except Exception:  # noqa: BLE001 - a module is user code and may raise anything
            _log.warning("handler.discovery_failed", module=module_info.name, exc_info=True)
