"""Graphs of every shape run in order, side by side where they may, and hand all results on."""

import asyncio
import copy
import math
from typing import Any

import pytest
from conftest import working
from tests.integration.support import chain, graph, results, states

from tasker_core import StepHandler
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.orchestration.lease_assembly import KnownTasks
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import TaskTemplate, load_text
from tasker_core.types import StepContext, StepHandlerResult

DIAMOND = {"start": [], "left": ["start"], "right": ["start"], "end": ["left", "right"]}
TREE = {
    "root": [],
    "left": ["root"],
    "right": ["root"],
    "left_a": ["left"],
    "left_b": ["left"],
    "right_a": ["right"],
    "right_b": ["right"],
    "leaves": ["left_a", "left_b", "right_a", "right_b"],
}
MIXED = {
    "init": [],
    "left": ["init"],
    "right": ["init"],
    "validate": ["left", "right"],
    "transform": ["left"],
    "analyse": ["right"],
    "final": ["validate", "transform", "analyse"],
}


def n_of(context: StepContext, step: str) -> Any:
    return context.get_dependency_field(step, "n")


@step_handler("square")
async def square_of_the_product(context: StepContext) -> dict[str, int]:
    """The square of the product of the direct parents; a root squares the input."""
    parents = context.task_sequence_step.step_definition.dependencies
    factors = [n_of(context, parent) for parent in parents] or [context.get_input("even_number")]
    return {"n": math.prod(factors) ** 2}


def named(shape: dict[str, list[str]]) -> TaskTemplate:
    """A template whose steps call the handlers of their own names."""
    return graph(shape, callables={name: name for name in shape})


def squares(shape: dict[str, list[str]]) -> TaskTemplate:
    return graph(shape, callables=dict.fromkeys(shape, "square"))


async def run(engine: Engine, template: TaskTemplate, handlers: dict[str, Any], **context: Any) -> dict[str, Any]:
    async with working(engine, handlers):
        task = await engine.create_task(template, TaskRequest(context))
        assert await engine.wait(task, 20) is TaskState.COMPLETE
    return {name: result["n"] for name, result in (await results(engine, task)).items()}


@pytest.mark.parametrize(("even_number", "expected"), [(6, [36, 46, 138, 69]), (10, [100, 110, 330, 165])])
async def test_a_linear_workflow_computes_as_documented(engine: Engine, even_number: int, expected: list[int]) -> None:
    @step_handler("square")
    def square(context: StepContext) -> dict[str, int]:
        return {"n": context.get_input("even_number") ** 2}

    @step_handler("add")
    def add(context: StepContext) -> dict[str, int]:
        return {"n": n_of(context, "square") + 10}

    @step_handler("triple")
    async def triple(context: StepContext) -> dict[str, int]:
        return {"n": n_of(context, "add") * 3}

    @step_handler("halve")
    async def halve(context: StepContext) -> dict[str, int]:
        return {"n": n_of(context, "triple") // 2}

    template = named({"square": [], "add": ["square"], "triple": ["add"], "halve": ["triple"]})
    handlers = {"square": square, "add": add, "triple": triple, "halve": halve}
    assert list((await run(engine, template, handlers, even_number=even_number)).values()) == expected


@pytest.mark.parametrize(
    ("even_number", "expected"),
    [(6, [36, 61, 72, 66.5]), (10, [100, 125, 200, 162.5]), (4, [16, 41, 32, 36.5])],
)
async def test_the_branches_of_a_diamond_run_at_the_same_time(
    engine: Engine, even_number: int, expected: list[float]
) -> None:
    # Neither branch gets past the barrier alone.
    together = asyncio.Barrier(2)

    @step_handler("start")
    async def start(context: StepContext) -> dict[str, int]:
        return {"n": context.get_input("even_number") ** 2}

    @step_handler("left")
    async def left(context: StepContext) -> dict[str, int]:
        await together.wait()
        return {"n": n_of(context, "start") + 25}

    @step_handler("right")
    async def right(context: StepContext) -> dict[str, int]:
        await together.wait()
        return {"n": n_of(context, "start") * 2}

    @step_handler("end")
    async def end(context: StepContext) -> dict[str, float]:
        return {"n": (n_of(context, "left") + n_of(context, "right")) / 2}

    handlers = {"start": start, "left": left, "right": right, "end": end}
    template = named(DIAMOND)
    assert list((await run(engine, template, handlers, even_number=even_number)).values()) == expected


@pytest.mark.parametrize(
    ("shape", "last", "exponent"),
    [
        ({"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}, "d", 16),
        (DIAMOND, "end", 16),
        (TREE, "leaves", 64),
        (MIXED, "final", 64),
    ],
    ids=["linear", "diamond", "tree", "mixed"],
)
async def test_integers_stay_exact_through_every_shape(
    engine: Engine, shape: dict[str, list[str]], last: str, exponent: int
) -> None:
    numbers = await run(engine, squares(shape), {"square": square_of_the_product}, even_number=6)
    assert numbers[last] == 6**exponent


async def test_a_step_sees_the_results_of_all_its_ancestors_and_of_no_other_step(engine: Engine) -> None:
    seen: dict[str, set[str]] = {}

    @step_handler("work")
    async def work(context: StepContext) -> dict[str, int]:
        name = context.task_sequence_step.workflow_step.name
        seen[name] = {key for key in context.get_dependency_result_keys() if n_of(context, key) == len(key)}
        return {"n": len(name)}

    await run(engine, graph(MIXED), {"work": work})
    assert seen == {
        "init": set(),
        "left": {"init"},
        "right": {"init"},
        "validate": {"init", "left", "right"},
        "transform": {"init", "left"},
        "analyse": {"init", "right"},
        "final": set(MIXED) - {"final"},
    }


async def test_what_a_handler_does_to_its_inputs_no_other_handler_sees(engine: Engine) -> None:
    seen: list[tuple[Any, Any]] = []

    @step_handler("work")
    async def work(context: StepContext) -> dict[str, Any]:
        first = context.get_dependency_result("first")
        if first is not None:
            seen.append(copy.deepcopy((context.input_data, first)))
            context.input_data["list"].append(2)
            context.input_data["map"]["k"] = 2
            first["list"].append(2)
        return {"n": 0, "list": [1]}

    shape = {"first": [], "a": ["first"], "b": ["first"], "c": ["a", "b"], "d": ["c"]}
    await run(engine, graph(shape), {"work": work}, list=[1], map={"k": 1})
    assert seen == [({"list": [1], "map": {"k": 1}}, {"n": 0, "list": [1]})] * 4


async def test_what_a_handler_does_to_its_configuration_no_later_attempt_or_task_sees(engine: Engine) -> None:
    seen: list[int] = []

    @step_handler("work")
    async def work(context: StepContext) -> dict[str, int]:
        seen.append(context.get_config("deep")["n"])
        context.get_config("deep")["n"] += 1
        if not context.is_retry():
            raise RuntimeError("once more")
        return {"n": 0}

    template = graph({"only": []}, initialization={"deep": {"n": 1}})
    for _ in range(2):
        await run(engine, template, {"work": work})
    assert seen == [1, 1, 1, 1]


async def test_a_thousand_branches_fan_out_and_in(engine: Engine) -> None:
    @step_handler("work")
    async def number(context: StepContext) -> dict[str, int]:
        return {"n": int(context.task_sequence_step.workflow_step.name.removeprefix("b"))}

    @step_handler("root")
    async def root() -> dict[str, int]:
        return {"n": 0}

    @step_handler("total")
    async def total(context: StepContext) -> dict[str, int]:
        return {"n": sum(result["n"] for result in context.get_all_dependency_results("b"))}

    branches = {f"b{n}": ["root"] for n in range(1_000)}
    template = graph({"root": [], **branches, "total": list(branches)}, callables={"root": "root", "total": "total"})
    async with working(engine, {"root": root, "work": number, "total": total}, concurrency=200):
        task = await engine.create_task(template, TaskRequest())
        assert await engine.wait(task, 30) is TaskState.COMPLETE
    assert (await results(engine, task))["total"] == {"n": sum(range(1_000))}


async def test_a_chain_of_two_hundred_steps_runs_in_order(engine: Engine) -> None:
    @step_handler("work")
    async def count(context: StepContext) -> dict[str, int]:
        return {"n": len(context.get_dependency_result_keys())}

    numbers = await run(engine, chain(200), {"work": count})
    assert list(numbers.values()) == list(range(200))


async def test_roots_start_together(engine: Engine) -> None:
    together = asyncio.Barrier(3)

    @step_handler("work")
    async def meet(context: StepContext) -> dict[str, int]:
        if not context.get_dependency_result_keys():
            await together.wait()
        return {"n": 0}

    shape: dict[str, list[str]] = {"a": [], "b": [], "c": [], "join": ["a", "b", "c"]}
    await run(engine, graph(shape), {"work": meet})


async def test_ten_tasks_created_at_once_are_ten_tasks_and_all_complete(engine: Engine) -> None:
    async with working(engine, {"square": square_of_the_product}):
        template = squares(DIAMOND)
        tasks = await asyncio.gather(
            *(engine.create_task(template, TaskRequest({"even_number": n})) for n in range(10))
        )
        assert {await engine.wait(task, 10) for task in tasks} == {TaskState.COMPLETE}
    assert len(set(tasks)) == 10
    assert [(await results(engine, task))["end"]["n"] for task in tasks] == [n**16 for n in range(10)]


async def test_a_task_waits_for_a_worker_that_has_its_handlers(engine: Engine) -> None:
    task = await engine.create_task(squares({"only": []}), TaskRequest({"even_number": 2}))

    @step_handler("other")
    async def other() -> None: ...

    async with working(engine, {"other": other}):
        second = await engine.create_task(named({"other": []}), TaskRequest())
        await engine.wait(second, 10)
    assert await states(engine, task) == {"only": "enqueued"}
    async with working(engine, {"square": square_of_the_product}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE


class Methods(StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({"invoked_method": "call"})

    def validate(self, context: StepContext) -> StepHandlerResult:
        return self.success({"invoked_method": "validate"})

    async def refund(self, context: StepContext) -> StepHandlerResult:
        return self.success({"invoked_method": "refund"})


async def test_each_step_calls_the_method_that_its_template_names(engine: Engine) -> None:
    template = load_text("""
        name: methods
        namespace_name: test
        version: 1.0.0
        steps:
          - {name: default, handler: {callable: work}}
          - {name: validate, handler: {callable: work, method: validate}}
          - {name: refund, handler: {callable: work, method: refund}, dependencies: [validate]}
        """)
    async with working(engine, {"work": Methods}):
        task = await engine.create_task(template, TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    invoked = {step: result["invoked_method"] for step, result in (await results(engine, task)).items()}
    assert invoked == {"default": "call", "validate": "validate", "refund": "refund"}


async def test_what_falls_out_of_memory_is_read_back(engine: Engine) -> None:
    # Room for one task: with twenty under way, nearly everything has to come from the database.
    engine._known = KnownTasks(max_bytes=1)
    async with working(engine, {"square": square_of_the_product}, concurrency=4):
        tasks = [await engine.create_task(squares(MIXED), TaskRequest({"even_number": n})) for n in range(20)]
        assert {await engine.wait(task, 10) for task in tasks} == {TaskState.COMPLETE}
    assert [(await results(engine, task))["final"]["n"] for task in tasks] == [n**64 for n in range(20)]


async def test_steps_of_one_task_that_run_on_different_workers_see_the_same_inputs(database_url: str) -> None:
    @step_handler("other")
    async def other(context: StepContext) -> dict[str, int]:
        return await square_of_the_product(context)

    callables = {name: ("square", "other")[n % 2] for n, name in enumerate(MIXED)}
    async with (
        Engine(database_url) as one,
        Engine(database_url) as two,
        working(one, {"square": square_of_the_product}),
        working(two, {"other": other}),
    ):
        task = await one.create_task(graph(MIXED, callables=callables), TaskRequest({"even_number": 6}))
        assert await two.wait(task, 10) is TaskState.COMPLETE
        assert (await results(one, task))["final"] == {"n": 6**64}
