import sys
import textwrap

import pytest

from tasker_core.handler import HandlerRegistry
from tasker_core.models import HandlerWrapper
from tasker_core.registry import HandlerDefinition, MethodDispatchWrapper, ResolverNotFoundError
from tasker_core.step_handler import StepHandler, step_handler


class Payments(StepHandler):
    handler_name = "payments"

    def call(self, context):
        return self.success()

    def refund(self, context):
        return self.success({"refunded": True})


class Other(Payments):
    pass


@pytest.fixture
def registry():
    return HandlerRegistry()


@pytest.fixture
def write_package(tmp_path, monkeypatch):
    """Writes a package of the given modules, importable for the duration of the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(**modules):
        for path, source in modules.items():
            file = tmp_path / f"{path.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            for parent in file.parents:
                if parent == tmp_path:
                    break
                (parent / "__init__.py").touch()
            file.write_text(textwrap.dedent(source))
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        if name.split(".")[0].startswith("shop"):
            del sys.modules[name]


HANDLERS = """
    from tasker_core import StepHandler
    from tasker_core.step_handler.functional import step_handler

    class Charge(StepHandler):
        handler_name = "charge"

        def call(self, context):
            return self.success()

    class Unnamed(StepHandler):
        def call(self, context):
            return self.success()

    @step_handler("ship")
    def ship():
        return None
"""


def test_handlers_are_registered_by_name(registry):
    @step_handler("ship")
    def ship():
        return None

    registry.register("payments", Payments)
    registry.register("ship", ship)
    assert registry.list_handlers() == ["payments", "ship"]
    assert registry.handler_count() == 2
    assert registry.is_registered("payments")
    assert registry.get_handler_class("ship") is ship._handler_class
    assert registry.get_handler_class("nope") is None
    assert registry.unregister("payments") is True
    assert registry.unregister("payments") is False
    assert registry.resolve("payments") is None


@pytest.mark.parametrize("wrong", [Payments(), object, "payments", lambda: None, None])
def test_anything_else_is_refused(registry, wrong):
    with pytest.raises(ValueError, match="neither a StepHandler subclass nor a decorated function"):
        registry.register("x", wrong)


def test_the_later_registration_wins(registry):
    registry.register("payments", Payments)
    registry.register("payments", Other)
    assert type(registry.resolve("payments")) is Other


@pytest.mark.parametrize(
    "spec",
    ["payments", HandlerDefinition("payments"), HandlerWrapper("payments")],
    ids=lambda spec: type(spec).__name__,
)
def test_a_handler_is_resolved_from_a_name_or_definition(registry, spec):
    registry.register("payments", Payments)
    assert type(registry.resolve(spec)) is Payments


@pytest.mark.parametrize("spec", [None, 5, {"callable": "payments"}, "unknown", ""])
def test_other_specs_and_unknown_names_do_not_resolve(registry, spec):
    registry.register("payments", Payments)
    assert registry.resolve(spec) is None


def test_a_method_is_dispatched_through_one_wrapper(registry):
    registry.register("payments", Payments)
    handler = registry.resolve(HandlerWrapper("payments", handler_method="refund"))
    assert isinstance(handler, MethodDispatchWrapper)
    assert type(handler.unwrap()) is Payments
    assert handler.call(None).result == {"refunded": True}
    assert registry.resolve(HandlerDefinition("payments", "nope")) is None


def test_an_unknown_resolver_is_an_error(registry):
    with pytest.raises(ResolverNotFoundError):
        registry.resolve(HandlerDefinition("payments", resolver="ghost"))


def test_a_decorated_function_is_found_by_name_without_being_registered(registry):
    @step_handler("declared_only")
    def function():
        return None

    assert not registry.is_registered("declared_only")
    assert type(registry.resolve("declared_only")) is function._handler_class
    assert registry.resolve(HandlerDefinition("declared_only", resolver="explicit_mapping")) is None


def test_a_registration_wins_over_a_declaration(registry):
    @step_handler("declared_too")
    def function():
        return None

    registry.register("declared_too", Payments)
    assert type(registry.resolve("declared_too")) is Payments


def test_clearing_forgets_handlers_and_resolvers(registry):
    registry.register("payments", Payments)
    registry.resolver_chain.remove_resolver("class_lookup")
    registry.clear()
    assert registry.handler_count() == 0
    assert registry.resolve("payments") is None
    assert len(registry.resolver_chain) == 2


def test_the_process_has_one_registry_until_it_is_reset():
    HandlerRegistry.reset_instance()
    first = HandlerRegistry.instance(skip_bootstrap=True)
    assert HandlerRegistry.instance() is first
    HandlerRegistry.reset_instance()
    assert HandlerRegistry.instance(skip_bootstrap=True) is not first
    HandlerRegistry.reset_instance()


def test_discovery_walks_the_package_and_skips_what_cannot_be_imported(registry, write_package):
    write_package(
        shop1__orders__handlers=HANDLERS,
        shop1__broken="raise RuntimeError('no')",
        shop1____main__="raise SystemExit('the program was run')",
    )
    assert registry.discover_handlers("shop1") == 2
    assert sorted(registry.list_handlers()) == ["charge", "ship"]


def test_discovery_counts_a_reexported_handler_once(registry, write_package):
    write_package(shop2__handlers=HANDLERS, shop2__api="from shop2.handlers import Charge, ship")
    assert registry.discover_handlers("shop2") == 2


def test_discovery_takes_a_plain_module_and_a_base_class(registry, write_package):
    write_package(
        shop3=HANDLERS
        + """
    class Base(StepHandler):
        handler_name = "base"

        def call(self, context):
            return self.success()

    class Special(Base):
        handler_name = "special"
    """
    )
    module = __import__("shop3")
    assert registry.discover_handlers("shop3", module.Base) == 1
    assert registry.list_handlers() == ["special"]
    assert registry.discover_handlers("shop3") == 4


def test_discovery_of_a_missing_package_finds_nothing(registry):
    assert registry.discover_handlers("no_such_package_at_all") == 0


@pytest.fixture
def templates(write_package, monkeypatch):
    root = write_package(shop4__handlers=HANDLERS)
    directory = root / "templates"
    directory.mkdir()
    (directory / "order.yaml").write_text(
        textwrap.dedent("""
            name: order
            namespace_name: shop
            version: 1.0.0
            steps:
              - name: a
                handler: {callable: shop4.handlers.Charge}
              - name: b
                handler: {callable: shop4.handlers.ship}
              - name: c
                handler: {callable: shop4.handlers.Unnamed}
              - name: d
                handler: {callable: bare_name}
              - name: e
                handler: {callable: missing.module.Handler}
        """)
    )
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(directory))
    monkeypatch.delenv("TASKER_ENV", raising=False)
    return directory


def test_bootstrap_registers_the_templates_handlers_by_path_and_name_once(registry, templates):
    assert registry.bootstrap_handlers() == 3
    assert registry.bootstrap_handlers() == 0
    assert sorted(registry.list_handlers()) == [
        "charge",
        "ship",
        "shop4.handlers.Charge",
        "shop4.handlers.Unnamed",
        "shop4.handlers.ship",
    ]


def test_in_test_mode_loaded_modules_come_before_templates(registry, templates, monkeypatch):
    monkeypatch.setenv("TASKER_ENV", "test")
    __import__("shop4.handlers")
    assert registry.bootstrap_handlers() >= 2
    assert registry.is_registered("charge")
    assert not registry.is_registered("shop4.handlers.Charge")


def test_discovery_can_be_inspected(registry, templates):
    info = registry.template_discovery_info()
    assert info["template_path"] == str(templates)
    assert info["template_files"] == [str(templates / "order.yaml")]
    assert len(info["discovered_handlers"]) == 5
    assert info["handlers_by_namespace"] == {"shop": info["discovered_handlers"]}
    assert (info["environment"], info["bootstrapped"]) == ("development", False)
