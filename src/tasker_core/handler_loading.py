"""Finding handler code: modules, files and directories that a person names, and those beside a template."""

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.functional import handler_class_of

#: Files and directories beside a template that hold its handlers, as patterns.
BESIDE_TEMPLATE = ("handlers.py", "handlers", "*_handler.py", "*_handlers.py")


class HandlerLoadError(Exception):
    """Handler code cannot be found, fails when imported or claims a name twice; the message names it."""


def load_handlers(registry: HandlerRegistry, reference: str) -> int:
    """Import a module, a file or a directory with everything under it, and register all handlers in it.

    Classes are registered under their ``handler_name`` and their class path, decorated functions under their name
    and path. Returns how many handlers there were.

    Raises:
        HandlerLoadError: there is no such code, importing it fails, or two handlers have one name.
    """
    path = Path(reference)
    if reference and path.exists():
        modules = list(_import_path(path))
    elif reference.endswith(".py") or not all(part.isidentifier() for part in reference.split(".")):
        raise HandlerLoadError(f"there is no file or directory {reference!r}")
    else:
        _make_importable(Path.cwd())
        modules = list(_import_tree(reference))
    return sum(register_module(registry, module) for module in modules)


def load_handlers_beside(registry: HandlerRegistry, template_file: Path) -> list[Path]:
    """Register the handlers beside a template file; return where they were found.

    The template's directory also becomes importable, so that class paths in the template can be resolved.

    Raises:
        HandlerLoadError: importing one of them fails, or two handlers have one name.
    """
    directory = template_file.resolve().parent
    _make_importable(directory)
    found = sorted({path for pattern in BESIDE_TEMPLATE for path in directory.glob(pattern)})
    for path in found:
        load_handlers(registry, str(path))
    return found


def register_module(registry: HandlerRegistry, module: ModuleType) -> int:
    """Register the handlers that a module holds; return how many are its own and not imported from elsewhere.

    Raises:
        HandlerLoadError: another handler has the name of one of these.
    """
    count = 0
    for name, value in list(vars(module).items()):
        handler_class = value if isinstance(value, type) else handler_class_of(value)
        if handler_class is None or not issubclass(handler_class, StepHandler) or inspect.isabstract(handler_class):
            continue
        if handler_class.handler_name:
            _register(registry, handler_class.handler_name, handler_class)
        if handler_class.__module__ == module.__name__:
            registry.register(f"{module.__name__}.{name}", handler_class)
            count += 1
            # A file that could not be imported under its own name is still meant by it in a template.
            path = f"{_file_name(module)}.{name}"
            if not registry.is_registered(path):
                registry.register(path, handler_class)
    return count


def _register(registry: HandlerRegistry, name: str, handler_class: type[StepHandler]) -> None:
    other = registry.get_handler_class(name)
    if other is not None and other is not handler_class:
        raise HandlerLoadError(f"two handlers have the name {name!r}: {_place(other)} and {_place(handler_class)}")
    registry.register(name, handler_class)


def _place(handler_class: type[StepHandler]) -> str:
    module = sys.modules.get(handler_class.__module__)
    return f"{handler_class.__qualname__} in {getattr(module, '__file__', None) or handler_class.__module__}"


def _file_name(module: ModuleType) -> str:
    in_package = "." in module.__name__ or module.__file__ is None or hasattr(module, "__path__")
    return module.__name__ if in_package else Path(str(module.__file__)).stem


def _import_path(path: Path) -> Iterator[ModuleType]:
    path = path.resolve()
    if path.is_dir():
        yield from _import_directory(path)
    elif path.suffix == ".py":
        _make_importable(path.parent)
        yield _import_file(path)
    else:
        raise HandlerLoadError(f"{path} is not a Python file")


def _import_directory(directory: Path) -> Iterator[ModuleType]:
    if (directory / "__init__.py").exists():
        _make_importable(directory.parent)
        yield from _import_package(directory)
        return
    _make_importable(directory)
    for path in sorted(directory.iterdir()):
        if path.suffix == ".py" and path.stem != "__main__":
            yield _import_file(path)
        elif path.is_dir() and _may_hold_handlers(path):
            yield from _import_directory(path)


def _may_hold_handlers(directory: Path) -> bool:
    """Whether to look into a directory: not into hidden ones, nor into virtual environments."""
    return not directory.name.startswith((".", "__")) and not (directory / "pyvenv.cfg").exists()


def _import_package(directory: Path) -> Iterator[ModuleType]:
    for module in _import_tree(directory.name):
        if module.__name__ == directory.name and str(directory) not in getattr(module, "__path__", []):
            raise HandlerLoadError(
                f"the package {directory} cannot be imported: {_place_of_module(module)} has its name; rename one"
            )
        yield module


def _place_of_module(module: ModuleType) -> str:
    return next(iter(getattr(module, "__path__", [])), None) or module.__file__ or f"a module {module.__name__}"


def _import_tree(name: str) -> Iterator[ModuleType]:
    module = _import(name, lambda: importlib.import_module(name))
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", []), f"{name}."):
        if not info.name.endswith(".__main__"):
            yield from _import_tree(info.name)


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, or under one of its own if another file has taken that name."""
    known = next((module for module in list(sys.modules.values()) if _file(module) == str(path)), None)
    if known is not None:
        return known
    if path.stem.isidentifier() and path.stem not in sys.modules:
        spec = importlib.util.find_spec(path.stem)
        if spec is not None and spec.origin == str(path):
            return _import(str(path), lambda: importlib.import_module(path.stem))
    return _import(str(path), lambda: _import_under_new_name(path))


def _file(module: ModuleType) -> str | None:
    # Not getattr: some libraries' lazy modules import the world when asked for anything.
    file: str | None = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return file


def _import_under_new_name(path: Path) -> ModuleType:
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
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


def _import(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise HandlerLoadError(f"there is no module {name} (looked in the current directory, too)") from error
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> HandlerLoadError:
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno})" if error.lineno else ""
        return HandlerLoadError(f"importing {name} failed: {type(error).__name__}: {error.msg}{where}")
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if "importlib" in innermost.filename else f" ({innermost.filename}, line {innermost.lineno})"
    return HandlerLoadError(f"importing {name} failed: {type(error).__name__}: {error}{where}")


def _make_importable(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
