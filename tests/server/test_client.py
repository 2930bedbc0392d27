"""Both clients against the real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from conftest import working

from tasker_core.client import (
    AsyncTaskerClient,
    ConflictError,
    DuplicateTaskError,
    InvalidRequestError,
    ResourceNotFoundError,
    TaskerClient,
    ValidationFailedError,
    WaitTimeoutError,
)
from tasker_core.errors import PermanentError
from tasker_core.orchestration import Engine
from tasker_core.step_handler.functional import step_handler
from tasker_core.types import ClientHealthResponse, ClientStepAuditResponse, ClientStepResponse, ClientTaskResponse

TEMPLATE = """
name: greet
namespace_name: hall
version: 1.0.0
identity_strategy: always_unique
input_schema: {type: object, properties: {name: {type: string}}}
steps:
  - {name: look_up, handler: {callable: look_up}}
  - {name: say, handler: {callable: say}, dependencies: [look_up], retry: {max_attempts: 1}}
"""


@step_handler("look_up")
def look_up(context):
    return {"title": "Dr."}


@step_handler("say")
def say(context):
    if context.get_input("name") == "nobody":
        raise PermanentError("nobody is there")
    return {"said": f"{context.get_dependency_result('look_up')['title']} {context.get_input('name')}"}


HANDLERS = {"look_up": look_up, "say": say}


@pytest.fixture
async def client(server_url: str) -> AsyncIterator[AsyncTaskerClient]:
    async with AsyncTaskerClient("tests", "suite", base_url=server_url) as opened:
        await opened.register_template(TEMPLATE)
        yield opened


async def done(client: AsyncTaskerClient, engine: Engine, name: str):
    """A task that has come to rest."""
    task = await client.create_task("greet", namespace="hall", context={"name": name})
    async with working(engine, HANDLERS):
        return await client.wait(task.task_uuid, timeout=30)


async def test_a_task_is_created_waited_for_and_looked_at(client, engine):
    created = await client.create_task(
        "greet", namespace="hall", context={"name": "No"}, reason="a visit", tags=["vip"], priority=3
    )
    assert (created.status, created.total_steps, created.reason) == ("pending", 2, "a visit")
    assert (created.initiator, created.source_system, created.tags) == ("tests", "suite", ["vip"])
    async with working(engine, HANDLERS):
        task = await client.wait(created.task_uuid, timeout=30)

    assert (task.status, task.completion_percentage, task.execution_status) == ("complete", 100.0, "all_complete")
    assert await client.get_task(UUID(task.task_uuid)) == task
    steps = {step.name: step for step in await client.list_task_steps(task.task_uuid)}
    assert steps["say"].results["result"] == {"said": "Dr. No"}
    assert await client.get_step(task.task_uuid, steps["say"].step_uuid) == steps["say"]
    (audit,) = await client.get_step_audit_history(task.task_uuid, steps["say"].step_uuid)
    assert (audit.success, audit.step_name, audit.to_state) == (True, "say", "complete")
    assert {each["step"] for each in await client.history(task.task_uuid)} == {None, "look_up", "say"}
    assert (await client.task_summary(task.task_uuid))["task"]["status"] == "complete"
    assert {each["step"] for each in await client.why(task.task_uuid)} == {"look_up", "say"}


async def test_answers_fit_the_strict_models(client, engine):
    task = await done(client, engine, "No")
    (step, _) = await client.list_task_steps(task.task_uuid)
    (audit,) = await client.get_step_audit_history(task.task_uuid, step.step_uuid)

    ClientTaskResponse(**task.__dict__)
    ClientStepResponse(**step.__dict__)
    ClientStepAuditResponse(**audit.__dict__)
    ClientHealthResponse(**(await client.health_check()).__dict__)


async def test_the_plain_client_does_the_same(client, engine, server_url):
    def run():
        with TaskerClient(base_url=server_url) as plain:
            assert plain.health_check().healthy
            created = plain.create_task("greet", namespace="hall", context={"name": "Who"})
            task = plain.wait(created.task_uuid, timeout=30)
            return task.status, [event.event for event in plain.events(task.task_uuid)][-1]

    async with working(engine, HANDLERS):
        assert await asyncio.to_thread(run) == ("complete", "end")


async def test_waiting_has_an_end(client):
    task = await client.create_task("greet", namespace="hall", context={"name": "No"})
    with pytest.raises(WaitTimeoutError) as raised:
        await client.wait(task.task_uuid, timeout=0.2)
    assert raised.value.task.status == "pending"


async def test_a_key_names_a_creation(client):
    first = await client.create_task("greet", namespace="hall", context={}, idempotency_key="visit-1")
    with pytest.raises(DuplicateTaskError):
        await client.create_task("greet", namespace="hall", context={}, idempotency_key="visit-1")
    again = await client.create_task(
        "greet", namespace="hall", context={}, idempotency_key="visit-1", return_existing=True
    )

    assert again.task_uuid == first.task_uuid


async def test_what_is_wrong_is_said_in_the_right_exception(client):
    with pytest.raises(ResourceNotFoundError, match=r"(?i)template not found"):
        await client.create_task("nothing", namespace="hall")
    with pytest.raises(ValidationFailedError) as raised:
        await client.create_task("greet", namespace="hall", context={"name": 7})
    assert raised.value.details
    assert raised.value.request_id
    with pytest.raises(ResourceNotFoundError):
        await client.get_task(uuid4())
    with pytest.raises(InvalidRequestError):
        await client.list_tasks(status="finished")
    with pytest.raises(ValidationFailedError):
        await client.register_template("name: broken\n")


async def test_many_tasks_are_created_listed_and_iterated(client):
    tasks = [{"name": "greet", "namespace": "hall", "context": {"name": str(n)}} for n in range(230)]
    answer = await client.create_tasks([*tasks, {"name": "nothing", "namespace": "hall"}])

    assert (answer.created, answer.failed) == (230, 1)
    page = await client.list_tasks(limit=120, offset=45, namespace="hall", name="greet")
    assert (len(page.tasks), page.pagination.total_count, page.pagination.has_next) == (120, 230, True)
    everything = [task.task_uuid async for task in client.iterate_tasks(namespace="hall")]
    assert [task.task_uuid for task in page.tasks] == everything[45:165]
    assert len(set(everything)) == 230
    found = [task async for task in client.iterate_tasks(context={"name": "7"})]
    assert [task.context for task in found] == [{"name": "7"}]


async def test_a_failed_step_is_repaired_and_the_task_goes_on(client, engine):
    task = await done(client, engine, "nobody")
    assert task.status == "blocked_by_failures"
    say = next(step for step in await client.list_task_steps(task.task_uuid) if step.name == "say")

    would = await client.retry_task(task.task_uuid, dry_run=True)
    assert (would["dry_run"], [each["step"] for each in would["steps"]]) == (True, ["say"])
    reset = await client.reset_step(task.task_uuid, say.step_uuid, reason="try once more")
    assert (reset.current_state, reset.attempts) == ("enqueued", 0)
    async with working(engine, HANDLERS):
        await client.wait(task.task_uuid, timeout=30)
    completed = await client.complete_step(task.task_uuid, say.step_uuid, {"said": "hello"}, reason="said by hand")
    assert completed.results["result"] == {"said": "hello"}
    assert (await client.get_task(task.task_uuid)).status == "complete"
    rerun = await client.rerun_task(task.task_uuid, "say", reason="once more")
    assert rerun["changed"] is True


async def test_a_task_is_paused_resumed_and_cancelled(client):
    task = await client.create_task("greet", namespace="hall", context={})
    assert (await client.pause_task(task.task_uuid, reason="lunch"))["changed"] is True
    assert (await client.resume_task(task.task_uuid))["changed"] is True
    assert await client.cancel_task(task.task_uuid, reason="not wanted") == {"cancelled": True}
    assert (await client.get_task(task.task_uuid)).status == "cancelled"


async def test_what_is_over_cannot_be_cancelled(client, engine):
    task = await done(client, engine, "No")
    with pytest.raises(ConflictError):
        await client.cancel_task(task.task_uuid)


async def test_a_task_that_needs_a_person_is_found_and_settled(client, engine):
    task = await done(client, engine, "nobody")
    (entry,) = await client.dlq_entries()
    assert entry["task_uuid"] == task.task_uuid
    assert await client.dlq_entry(entry["dlq_entry_uuid"]) == entry
    assert (await client.dlq_entry_of_task(task.task_uuid))["dlq_entry_uuid"] == entry["dlq_entry_uuid"]
    assert [each["task_uuid"] for each in await client.dlq_queue()] == [task.task_uuid]
    assert (await client.dlq_stats())[0]["pending"] == 1
    assert await client.dlq_staleness() == []
    await client.update_dlq_entry(entry["dlq_entry_uuid"], notes="asked the porter")

    await client.resolve_dlq_entry(entry["dlq_entry_uuid"], action="cancel", notes="nobody is there")
    assert (await client.get_task(task.task_uuid)).status == "cancelled"


async def test_templates_are_registered_listed_and_forgotten(client, tmp_path):
    path = tmp_path / "greet.yaml"
    path.write_text(TEMPLATE.replace("1.0.0", "1.1.0"))
    assert (await client.register_template(path))["outcome"] == "registered"
    assert (await client.register_template(path))["outcome"] == "unchanged"
    with pytest.raises(ConflictError, match="other content"):
        await client.register_template(TEMPLATE.replace("max_attempts: 1", "max_attempts: 2"))

    listed = await client.list_templates(namespace="hall")
    assert [each["version"] for each in listed["templates"]] == ["1.1.0", "1.0.0"]
    assert (await client.get_template("hall", "greet"))["version"] == "1.1.0"
    full = await client.get_template("hall", "greet", "1.0.0", full=True)
    assert full["template"]["namespace_name"] == "hall"
    await client.delete_template("hall", "greet", "1.1.0")
    with pytest.raises(ResourceNotFoundError):
        await client.get_template("hall", "greet", "1.1.0")


async def test_events_tell_a_task_s_whole_life_and_may_begin_in_the_middle(client, engine):
    task = await done(client, engine, "No")
    events = [event async for event in client.events(task.task_uuid)]

    assert events[-1].event == "end"
    assert {event.event for event in events[:-1]} == {"task", "step"}
    middle = events[len(events) // 2]
    later = [event async for event in client.events(task.task_uuid, last_event_id=middle.id)]
    assert later == events[len(events) // 2 + 1 :]


async def test_events_of_a_namespace_arrive_as_they_happen(client, engine):
    heard: list[str] = []

    async def listen():
        async for event in client.namespace_events("hall"):
            heard.append(event.data["task_uuid"])
            if event.event == "task" and event.data["to_state"] == "complete":
                return

    listener = asyncio.create_task(listen())
    tasks = set()
    async with working(engine, HANDLERS), asyncio.timeout(30):
        # Until the listener hears of one: it is not known when its stream begins.
        while not listener.done():
            task = await client.create_task("greet", namespace="hall", context={"name": "No"})
            tasks.add(task.task_uuid)
            await asyncio.wait({listener}, timeout=0.5)
    listener.result()
    assert set(heard) <= tasks


async def test_a_server_tells_whom_it_takes_the_client_for(client):
    assert "tasks:create" in (await client.me())["permissions"]


def test_a_client_may_be_made_by_a_plain_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://tasker.example:9000")
    make: Callable[[], TaskerClient] = TaskerClient
    with make() as plain:
        assert (plain.base_url, plain.initiator, plain.source_system) == (
            "http://tasker.example:9000",
            "tasker-core-python",
            "tasker-core",
        )
