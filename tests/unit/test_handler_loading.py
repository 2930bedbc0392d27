"""Handler code is found where people say it is, and told from its namesakes."""

import sys
import textwrap
from pathlib import Path

import pytest

from tasker_core import HandlerRegistry
from tasker_core.handler_loading import HandlerLoadError, load_handlers, load_handlers_beside


@pytest.fixture(autouse=True)
def fresh_imports(tmp_path, monkeypatch):
    """Whatever a test imports is forgotten after it."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def registry() -> HandlerRegistry:
    return HandlerRegistry()


def write(path: Path, code: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    return path


def function(name: str) -> str:
    return f"""
    from tasker_core.step_handler import step_handler

    @step_handler("{name}")
    def {name}(context):
        return {{}}
    """


def handler_class(name: str, handler_name: str = "") -> str:
    return f"""
    from tasker_core import StepHandler

    class {name}(StepHandler):
        handler_name = "{handler_name}"

        def call(self, context):
            return self.success({{"of": __file__}})
    """


def test_a_file_s_functions_and_classes_get_their_name_and_their_path(registry, tmp_path):
    file = write(tmp_path / "shop_handlers.py", function("charge") + handler_class("Ship", "ship_it"))
    assert load_handlers(registry, str(file)) == 2
    assert set(registry.list_handlers()) == {"charge", "shop_handlers.charge", "ship_it", "shop_handlers.Ship"}


def test_a_class_without_a_handler_name_has_its_path(registry, tmp_path):
    assert load_handlers(registry, str(write(tmp_path / "plain.py", handler_class("Plain")))) == 1
    assert registry.list_handlers() == ["plain.Plain"]


def test_a_package_is_searched_through_by_name_and_by_path(registry, tmp_path):
    write(tmp_path / "shop" / "__init__.py", "")
    write(tmp_path / "shop" / "__main__.py", "raise SystemExit('run')")
    write(tmp_path / "shop" / "money.py", function("charge"))
    write(tmp_path / "shop" / "deep" / "__init__.py", "from shop.money import charge")
    write(tmp_path / "shop" / "deep" / "boxes.py", "from ..money import charge\n" + textwrap.dedent(function("pack")))
    assert load_handlers(registry, "shop") == 2
    assert {"charge", "pack", "shop.money.charge", "shop.deep.boxes.pack"} == set(registry.list_handlers())
    assert load_handlers(registry, "shop.deep") == 1


def test_a_plain_directory_is_searched_but_for_hidden_places_and_environments(registry, tmp_path):
    write(tmp_path / "code" / "a.py", function("a"))
    write(tmp_path / "code" / "below" / "b.py", function("b"))
    write(tmp_path / "code" / "below" / "package" / "__init__.py", "from package import c")
    write(tmp_path / "code" / "below" / "package" / "c.py", function("c"))
    write(tmp_path / "code" / ".hidden" / "d.py", "raise RuntimeError")
    write(tmp_path / "code" / "env" / "lib" / "e.py", "raise RuntimeError")
    write(tmp_path / "code" / "env" / "pyvenv.cfg", "")
    assert load_handlers(registry, "code") == 3
    assert {"a", "b", "c", "package.c.c"} <= set(registry.list_handlers())


def test_what_lies_beside_a_template_is_found_without_being_named(registry, tmp_path):
    write(tmp_path / "flows" / "handlers.py", "import helper\n" + textwrap.dedent(function("one")))
    write(tmp_path / "flows" / "two_handler.py", function("two"))
    write(tmp_path / "flows" / "helper.py", function("never"))
    found = load_handlers_beside(registry, tmp_path / "flows" / "flow.yaml")
    assert [path.name for path in found] == ["handlers.py", "two_handler.py"]
    assert {"one", "two"} <= set(registry.list_handlers())
    assert not registry.is_registered("never")


def test_files_of_one_name_in_different_directories_are_kept_apart(registry, tmp_path):
    first = write(tmp_path / "a" / "handlers.py", handler_class("First"))
    second = write(tmp_path / "b" / "handlers.py", handler_class("Second"))
    load_handlers(registry, str(first))
    load_handlers(registry, str(second))
    for name, file in (("handlers.First", first), ("handlers.Second", second)):
        assert registry.resolve(name).call(None).result == {"of": str(file)}


def test_a_file_named_like_a_library_is_still_that_file(registry, tmp_path):
    assert load_handlers(registry, str(write(tmp_path / "json.py", function("work")))) == 1
    assert "json.work" in registry.list_handlers()
    assert load_handlers(registry, str(write(tmp_path / "my-handlers v2.py", function("more")))) == 1


def test_one_file_found_in_two_ways_is_imported_once(registry, tmp_path):
    write(tmp_path / "flows" / "handlers.py", function("one"))
    load_handlers(registry, "flows.handlers")
    load_handlers(registry, "flows")
    load_handlers_beside(registry, tmp_path / "flows" / "flow.yaml")
    assert "handlers" not in sys.modules


def test_one_name_for_two_handlers_is_refused(registry, tmp_path):
    load_handlers(registry, str(write(tmp_path / "a" / "handlers.py", function("charge"))))
    other = write(tmp_path / "b" / "handlers.py", function("charge"))
    with pytest.raises(HandlerLoadError, match=r"two handlers have the name 'charge': charge in .*a/handlers\.py and"):
        load_handlers(registry, str(other))


def test_two_packages_of_one_name_are_refused(registry, tmp_path):
    write(tmp_path / "a" / "handlers" / "__init__.py", function("one"))
    write(tmp_path / "b" / "handlers" / "__init__.py", function("two"))
    load_handlers(registry, str(tmp_path / "a" / "handlers"))
    with pytest.raises(HandlerLoadError, match="has its name; rename one"):
        load_handlers(registry, str(tmp_path / "b" / "handlers"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def x(:", r"broken\.py failed: SyntaxError: invalid syntax \(line 1\)"),
        ("\n\n1 / 0", r"broken\.py failed: ZeroDivisionError: division by zero \(.*broken\.py, line 3\)"),
        ("import sys; sys.exit(3)", r"SystemExit: 3"),
        ("import no_such_library", r"No module named 'no_such_library'"),
        ("from tasker_core import nothing", r"ImportError: cannot import name 'nothing'"),
        ("\0", r"SyntaxError"),
    ],
)
def test_code_that_fails_when_imported_is_named_with_the_place(registry, tmp_path, code, message):
    file = write(tmp_path / "broken.py", code)
    for _ in range(2):  # and nothing half-imported is left behind
        with pytest.raises(HandlerLoadError, match=message):
            load_handlers(registry, str(file))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module", "there is no module no_such_module"),
        ("no_such.module", "there is no module no_such.module"),
        ("tasker_core.no_such", "there is no module tasker_core.no_such"),
        ("no/such/place", "there is no file or directory 'no/such/place'"),
        ("nothing.py", "there is no file or directory 'nothing.py'"),
        ("notes.txt", "is not a Python file"),
        ("", "there is no"),
        (".dotted", "there is no"),
    ],
)
def test_what_is_not_there_is_named(registry, tmp_path, reference, message):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(HandlerLoadError, match=message):
        load_handlers(registry, reference)


def test_a_place_without_handlers_has_none(registry, tmp_path):
    (tmp_path / "empty").mkdir()
    assert load_handlers(registry, "empty") == 0
    assert registry.handler_count() == 0
