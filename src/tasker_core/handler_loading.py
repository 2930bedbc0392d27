"""Finding handler code: modules, files and directories that a person names, and those beside a template."""

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.functional import handler_class_of

#: Files and directories beside a template that hold its handlers, as patterns.
BESIDE_TEMPLATE = ("handlers.py", "handlers", "*_handler.py", "*_handlers.py")


class HandlerLoadError(Exception):
    """Handler code cannot be found or fails when imported; the message names it."""


def load_handlers(registry: HandlerRegistry, reference: str) -> int:
    """Import a module, a file or a directory with everything under it, and register all handlers in it.

    Classes are registered under their ``handler_name`` and their class path, decorated functions under their name
    and path. Returns how many handlers there were.

    Raises:
        HandlerLoadError: there is no such code, or importing it fails.
    """
    path = Path(reference)
    if path.exists():
        modules = list(_import_path(path))
    elif reference.endswith(".py") or "/" in reference:
        raise HandlerLoadError(f"there is no file or directory {reference}")
    else:
        _make_importable(Path.cwd())
        modules = list(_import_tree(reference))
    return sum(register_module(registry, module) for module in modules)


def load_handlers_beside(registry: HandlerRegistry, template_file: Path) -> list[Path]:
    """Register the handlers beside a template file; return where they were found.

    The template's directory also becomes importable, so that class paths in the template can be resolved.

    Raises:
        HandlerLoadError: importing one of them fails.
    """
    directory = template_file.resolve().parent
    _make_importable(directory)
    found = sorted({path for pattern in BESIDE_TEMPLATE for path in directory.glob(pattern)})
    for path in found:
        load_handlers(registry, str(path))
    return found


def register_module(registry: HandlerRegistry, module: ModuleType) -> int:
    """Register the handlers that a module holds; return how many."""
    count = 0
    for name, value in list(vars(module).items()):
        handler_class = value if isinstance(value, type) else handler_class_of(value)
        if handler_class is None or not issubclass(handler_class, StepHandler) or not handler_class.handler_name:
            continue
        registry.register(handler_class.handler_name, handler_class)
        if getattr(value, "__module__", None) == module.__name__:
            registry.register(f"{module.__name__}.{name}", handler_class)
            count += 1
    return count


def _import_path(path: Path) -> Iterator[ModuleType]:
    path = path.resolve()
    if path.is_file():
        if path.suffix != ".py":
            raise HandlerLoadError(f"{path} is not a Python file")
        _make_importable(path.parent)
        yield _import_file(path)
    elif (path / "__init__.py").exists():
        _make_importable(path.parent)
        yield from _import_tree(path.name)
    else:
        _make_importable(path)
        for file in sorted(path.rglob("*.py")):
            yield _import_file(file)


def _import_tree(name: str) -> Iterator[ModuleType]:
    module = _import(name, lambda: importlib.import_module(name))
    yield module
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        if not info.name.endswith(".__main__"):
            yield _import(info.name, lambda: importlib.import_module(info.name))  # noqa: B023 - called at once


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, or under one of its own if another file has taken that name."""

    def load() -> ModuleType:
        taken = sys.modules.get(path.stem)
        if taken is not None and getattr(taken, "__file__", None) == str(path):
            return taken
        free = taken is None and importlib.util.find_spec(path.stem) is not None
        if free:
            module = importlib.import_module(path.stem)
            if getattr(module, "__file__", None) == str(path):
                return module
        name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return _import(str(path), load)


def _import(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except ModuleNotFoundError as error:
        if error.name == name:
            raise HandlerLoadError(f"there is no module {name} (looked in the current directory, too)") from error
        raise HandlerLoadError(f"importing {name} failed: {error}") from error
    except Exception as error:
        raise HandlerLoadError(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _make_importable(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
