"""A task keeps the template it was created with, as it was resolved then."""

import asyncio
from dataclasses import replace
from typing import Any

from conftest import working
from tests.integration.support import chain, fetch, graph, results, template_id_of

from tasker_core.orchestration import Engine, TaskFilter, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import load_text
from tasker_core.types import StepContext

LAYERED = """
name: layered
namespace_name: test
version: 1.0.0
steps:
  - {name: a, handler: {callable: work, initialization: {url: test, keep: 1}}}
  - {name: b, handler: {callable: work, initialization: {url: test}}, dependencies: [a]}
environments:
  production:
    steps:
      - {name: ALL, handler: {initialization: {url: live}}}
      - {name: b, timeout_seconds: 7, retry: {max_attempts: 9}}
"""


@step_handler("work")
async def work(context: StepContext) -> dict[str, Any]:
    return {"config": context.step_config, "attempts": context.max_retries}


async def test_a_task_runs_with_the_content_it_was_created_with_though_the_file_has_changed(database_url: str) -> None:
    before, after = (graph({"a": [], "b": ["a"]}, initialization={"edition": n}) for n in (1, 2))
    assert before.identity == after.identity
    async with Engine(database_url) as creator:
        old = await creator.create_task(before, TaskRequest())
    # Another process, which has only ever seen the new content.
    async with Engine(database_url) as engine, working(engine, {"work": work}):
        new = await engine.create_task(after, TaskRequest())
        assert {await engine.wait(task, 10) for task in (old, new)} == {TaskState.COMPLETE}
        editions = [
            {step: result["config"]["edition"] for step, result in (await results(engine, task)).items()}
            for task in (old, new)
        ]
    assert editions == [{"a": 1, "b": 1}, {"a": 2, "b": 2}]


async def test_a_task_keeps_its_graph_though_the_file_has_another_one(database_url: str) -> None:
    async with Engine(database_url) as creator:
        old = await creator.create_task(graph({"a": [], "b": ["a"]}), TaskRequest())
    async with Engine(database_url) as engine, working(engine, {"work": work}):
        new = await engine.create_task(graph({"b": [], "c": ["b"], "a": ["c"]}), TaskRequest())
        assert {await engine.wait(task, 10) for task in (old, new)} == {TaskState.COMPLETE}
        assert [list(await results(engine, task)) for task in (old, new)] == [["a", "b"], ["b", "c", "a"]]


async def test_an_environments_overrides_reach_the_handlers(database_url: str) -> None:
    async with Engine(database_url, environment="production") as engine, working(engine, {"work": work}):
        task = await engine.create_task(load_text(LAYERED), TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
        assert await results(engine, task) == {
            "a": {"config": {"url": "live", "keep": 1}, "attempts": 3},
            "b": {"config": {"url": "live"}, "attempts": 9},
        }


async def test_overrides_are_settled_when_the_task_is_created_not_when_it_runs(database_url: str) -> None:
    async with Engine(database_url, environment="production") as creator:
        task = await creator.create_task(load_text(LAYERED), TaskRequest())
    async with Engine(database_url, environment="staging") as engine, working(engine, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
        assert (await results(engine, task))["b"]["config"] == {"url": "live"}
        assert (await engine.task(task))["environment"] == "production"


async def test_the_resolved_template_is_what_is_stored(database_url: str) -> None:
    async with Engine(database_url, environment="production") as engine:
        await engine.create_task(load_text(LAYERED), TaskRequest())
    (row,) = await fetch(
        database_url,
        """SELECT environment, definition #>> '{steps,1,handler,initialization,url}' AS url,
                  definition -> 'environments' AS environments FROM tasker.templates""",
    )
    assert tuple(row) == ("production", "live", "{}")
    attempts = await fetch(database_url, "SELECT max_attempts FROM tasker.template_steps ORDER BY ordinal")
    assert [row[0] for row in attempts] == [3, 9]


async def test_a_template_that_two_engines_save_at_once_is_stored_once(database_url: str) -> None:
    async with Engine(database_url) as one, Engine(database_url) as other:
        for length in range(1, 11):
            template = chain(length)
            ids = await asyncio.gather(*(template_id_of(engine, template) for engine in (one, other) * 4))
            assert len(set(ids)) == 1
    rows = await fetch(
        database_url,
        "SELECT count(step.ordinal) FROM tasker.templates JOIN tasker.template_steps AS step USING (template_id) "
        "GROUP BY template_id ORDER BY template_id",
    )
    assert [row[0] for row in rows] == list(range(1, 11))


async def test_equal_content_under_two_versions_is_two_templates(engine: Engine, database_url: str) -> None:
    template = chain(1)
    for version in ("1.0.0", "1.0.1", "1.0.0"):
        await engine.create_task(replace(template, version=version), TaskRequest())
    assert [row[0] for row in await fetch(database_url, "SELECT version FROM tasker.templates ORDER BY 1")] == [
        "1.0.0",
        "1.0.1",
    ]


async def test_templates_of_one_name_in_two_namespaces_are_independent(engine: Engine) -> None:
    template = graph({"only": []}, initialization={"from": "payments"})
    other = replace(graph({"only": []}, initialization={"from": "success"}), namespace_name="customer_success")
    async with working(engine, {"work": work}):
        tasks = [await engine.create_task(each, TaskRequest()) for each in (template, other)]
        for task in tasks:
            await engine.wait(task, 10)
    assert [(await results(engine, task))["only"]["config"]["from"] for task in tasks] == ["payments", "success"]
    assert [task["namespace"] for task in await engine.tasks(TaskFilter(namespaces=["customer_success"]))] == [
        "customer_success"
    ]
