import re
import sys
import threading

import pytest

from tasker_core.models import HandlerWrapper
from tasker_core.registry import (
    BaseResolver,
    ClassLookupResolver,
    ExplicitMappingResolver,
    HandlerDefinition,
    MethodDispatchWrapper,
    RegistryResolver,
    ResolverChain,
    ResolverNotFoundError,
)
from tasker_core.step_handler import StepHandler, step_handler
from tasker_core.step_handler.invocation import is_async


class Payments(StepHandler):
    handler_name = "payments"

    def call(self, context):
        return self.success({"method": "call"})

    def refund(self, context):
        return self.success({"method": "refund"})

    async def settle(self, context):
        return self.success({"method": "settle"})


class Configured(StepHandler):
    def __init__(self, config):
        self.config = config

    def call(self, context):
        return self.success()


class Broken(StepHandler):
    def __init__(self):
        raise RuntimeError("cannot be made")

    def call(self, context):
        return self.success()


class PrefixResolver(RegistryResolver):
    name = "pay"
    priority = 20
    prefix = "pay:"

    def resolve_handler(self, definition, config=None):
        return Payments()


@pytest.fixture
def chain():
    return ResolverChain.default().register("payments", Payments)


@pytest.fixture
def module(monkeypatch):
    """A module of handlers that can be found by dotted path, wherever this file was loaded from."""
    here = type(sys)("resolver_fixture")

    @step_handler("decorated")
    def decorated():
        return None

    for thing in (Payments, Configured, Broken, decorated):
        setattr(here, thing.__name__, thing)
    here.plain = lambda: None
    monkeypatch.setitem(sys.modules, here.__name__, here)
    return here


def definition(callable_name, method=None, resolver=None, **initialization):
    return HandlerDefinition(callable_name, method, resolver, initialization)


def test_a_definition_reads_the_templates_keys():
    read = HandlerDefinition.from_dict({"callable": "c", "method": "m", "resolver": "r", "initialization": {"k": 1}})
    assert read == HandlerDefinition("c", "m", "r", {"k": 1})
    assert HandlerDefinition.from_dict(None) == HandlerDefinition("")
    assert HandlerDefinition.from_wrapper(HandlerWrapper("c")) == HandlerDefinition.from_callable("c")


@pytest.mark.parametrize(
    ("method", "effective", "dispatches"),
    [(None, "call", False), ("call", "call", False), ("", "call", False), ("refund", "refund", True)],
)
def test_only_another_method_than_call_is_dispatched(method, effective, dispatches):
    read = definition("c", method)
    assert (read.effective_method(), read.uses_method_dispatch()) == (effective, dispatches)
    assert not read.has_resolver_hint()
    assert definition("c", resolver="r").has_resolver_hint()


def test_a_registered_class_yields_a_new_instance_each_time(chain):
    first, second = chain.resolve(definition("payments")), chain.resolve(definition("payments"))
    assert type(first) is Payments
    assert first is not second


def test_factories_instances_and_functions_can_be_registered_too(chain, module):
    instance = Payments()
    chain.register("instance", instance).register("factory", lambda config: Configured(config))
    chain.register("function", module.decorated)
    assert chain.resolve(definition("instance")) is instance
    assert chain.resolve(definition("factory"), {"k": 1}).config == {"k": 1}
    assert chain.resolve(definition("factory", k=2)).config == {"k": 2}
    assert chain.resolve(definition("function")).name == "decorated"


def test_a_constructor_may_take_the_configuration(chain):
    chain.register("configured", Configured)
    assert chain.resolve(definition("configured", k=1)).config == {"k": 1}


def test_a_handler_that_cannot_be_made_does_not_resolve(chain):
    def fail(config):
        raise RuntimeError("no")

    chain.register("broken", Broken).register("fails", fail)
    assert chain.resolve(definition("broken")) is None
    assert chain.resolve(definition("fails")) is None


def test_registering_a_key_again_replaces_it_and_unregistering_removes_it(chain):
    chain.register("payments", Configured)
    assert type(chain.resolve(definition("payments"))) is Configured
    assert chain.explicit_resolver.unregister("payments") is True
    assert chain.explicit_resolver.unregister("payments") is False
    assert chain.resolve(definition("payments")) is None


def test_the_explicit_table_can_be_used_from_several_threads():
    resolver = ExplicitMappingResolver()

    def register(worker):
        for n in range(200):
            resolver.register(f"{worker}-{n}", Payments)

    threads = [threading.Thread(target=register, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(resolver.registered_callables()) == 800


def test_classes_and_decorated_functions_are_found_by_path(chain, module):
    assert type(chain.resolve(definition("resolver_fixture.Payments"))) is Payments
    assert chain.resolve(definition("resolver_fixture.decorated")).name == "decorated"


@pytest.mark.parametrize(
    "path",
    [
        "resolver_fixture.Missing",
        "resolver_fixture.Broken",
        "resolver_fixture.plain",
        "no.such.module.Handler",
        "Handler",
        "handler",
        "..Handler",
        "",
    ],
)
def test_other_paths_do_not_resolve(chain, module, path):
    assert chain.resolve(definition(path)) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("any.module.Handler", True),
        ("resolver_fixture.decorated", True),
        ("resolver_fixture.plain", False),
        ("module.something", False),
        ("Handler", False),
    ],
)
def test_class_lookup_tries_class_paths_and_decorated_functions(module, path, expected):
    assert ClassLookupResolver().can_resolve(definition(path)) is expected


def test_resolvers_are_asked_in_order_of_priority():
    asked = []

    class Recording(RegistryResolver):
        prefix = ""

        def __init__(self, priority):
            self._priority = priority
            self._name = f"r{priority}"

        def resolve_handler(self, definition, config=None):
            asked.append(self.priority)

    chain = ResolverChain([Recording(100), Recording(10)]).add_resolver(Recording(50))
    assert chain.resolve(definition("x")) is None
    assert asked == [10, 50, 100]
    assert chain.list_resolvers() == [("r10", 10), ("r50", 50), ("r100", 100)]


def test_a_custom_resolver_matches_by_pattern_or_prefix(chain):
    class PatternResolver(RegistryResolver):
        _name = "pattern"
        pattern = re.compile(r"(\w+)!")

        def resolve_handler(self, definition, config=None):
            return Configured(self._match_pattern(definition.callable).group(1))

    chain.register(PatternResolver()).add_resolver(PrefixResolver())
    assert chain.resolve(definition("word!")).config == "word"
    assert type(chain.resolve(definition("pay:card"))) is Payments
    assert chain.resolver_names == ["explicit_mapping", "pay", "pattern", "class_lookup"]


def test_a_custom_resolver_must_say_how_it_resolves():
    class Silent(RegistryResolver):
        prefix = ""

    with pytest.raises(NotImplementedError, match="Silent"):
        Silent().resolve(definition("x"))
    assert not RegistryResolver().can_resolve(definition("x"))
    with pytest.raises(TypeError):
        BaseResolver()


def test_a_hint_asks_that_resolver_alone(chain, module):
    assert chain.resolve(definition("payments", resolver="explicit_mapping"))
    assert chain.resolve(definition("payments", resolver="class_lookup")) is None
    assert not chain.can_resolve(definition("payments", resolver="class_lookup"))
    assert chain.can_resolve(definition("payments"))


def test_an_unknown_hint_is_an_error(chain):
    with pytest.raises(ResolverNotFoundError, match="ghost"):
        chain.resolve(definition("payments", resolver="ghost"))
    assert not chain.can_resolve(definition("payments", resolver="ghost"))


def test_call_is_dispatched_to_the_wanted_method(chain):
    handler = chain.resolve(definition("payments", "refund"))
    assert handler.call(None).result == {"method": "refund"}
    assert (handler.name, handler.target_method) == ("payments", "refund")
    assert type(handler.unwrap()) is type(handler.handler) is Payments


async def test_an_async_method_is_dispatched_as_async(chain):
    handler = chain.resolve(definition("payments", "settle"))
    assert is_async(handler)
    assert (await handler.call(None)).result == {"method": "settle"}


def test_a_missing_method_does_not_resolve(chain):
    assert chain.resolve(definition("payments", "nope")) is None
    with pytest.raises(AttributeError, match="Handler Payments does not have method 'nope'"):
        MethodDispatchWrapper(Payments(), "nope")


def test_a_wrapped_handler_can_be_wrapped_again(chain):
    wanted = definition("payments", "refund")
    twice = chain.wrap_for_method_dispatch(chain.resolve(wanted), wanted)
    assert twice.call(None).result == {"method": "refund"}


def test_the_chain_describes_itself(chain):
    assert len(chain) == 2
    assert chain.registered_callables() == ["payments"]
    assert chain.chain_info() == [
        {"name": "explicit_mapping", "priority": 10, "callables": 1},
        {"name": "class_lookup", "priority": 100, "callables": 0},
    ]


def test_without_its_table_a_chain_cannot_register(chain):
    assert chain.remove_resolver("explicit_mapping") is True
    assert chain.remove_resolver("explicit_mapping") is False
    assert chain.get_resolver("explicit_mapping") is None
    with pytest.raises(RuntimeError, match="No ExplicitMappingResolver in chain"):
        chain.register("x", Payments)
