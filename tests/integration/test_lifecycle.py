"""Tasks from creation to rest, on a real database."""

from conftest import working

from tasker_core import StepHandler
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.template import load_text

CHAIN = """
name: chain
namespace_name: test
version: 1.0.0
steps:
  - {name: a, handler: {callable: add}}
  - {name: b, handler: {callable: add}, dependencies: [a]}
"""


class Add(StepHandler):
    handler_name = "add"

    async def call(self, context):
        before = max((r["result"]["n"] for r in context.dependency_results.values()), default=0)
        return self.success({"n": before + context.get_input("by")})


async def test_a_chain_runs_to_completion_and_hands_results_on(engine: Engine) -> None:
    async with working(engine, {"add": Add}):
        task = await engine.create_task(load_text(CHAIN), TaskRequest({"by": 2}))
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    assert [step["result"] for step in await engine.steps(task)] == [{"n": 2}, {"n": 4}]
