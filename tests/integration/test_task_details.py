"""Creating many tasks that stand each for itself, and what is shown of tasks beyond themselves."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from tests.integration.dynamic import convergence, decision, step
from tests.integration.dynamic import template as dynamic
from tests.integration.support import chain, check_invariants

from tasker_core.orchestration import Engine, InvalidTaskError, StepNotFoundError, TaskNotFoundError, TaskRequest
from tasker_core.orchestration.bulk import Creation, create_in_bulk
from tasker_core.store import StoreError, StoreUnavailableError
from tasker_core.template import IdentityStrategy, TaskTemplate


async def test_each_request_is_told_what_became_of_it(engine: Engine, database_url: str) -> None:
    template = chain(2, identity_strategy=IdentityStrategy.STRICT)
    (first,) = await engine.create_each(template, [TaskRequest(context={"n": 1})])
    requests = [
        TaskRequest(context={"n": 1}),
        TaskRequest(context={"n": 2}),
        TaskRequest(priority=101),
        TaskRequest(context={"n": 2}),
    ]
    existing, new, wrong, twin = await engine.create_each(template, requests)
    assert (existing.task_uuid, existing.existed) == (first.task_uuid, True)
    assert not new.existed
    assert isinstance(wrong.error, InvalidTaskError)
    assert wrong.task_uuid is None
    assert (twin.task_uuid, twin.existed) == (new.task_uuid, True)
    assert await engine.count_tasks() == 2
    await check_invariants(database_url)


async def test_tasks_of_several_templates_are_created_in_the_order_of_their_requests(engine: Engine) -> None:
    templates = [chain(1, name=f"t{n}") for n in range(3)]
    requests = [(templates[n % 3], TaskRequest(context={"n": n})) for n in range(2500)]
    creations = await create_in_bulk(engine.create_each, requests)
    for n in (0, 1, 2, 1250, 2499):
        task_uuid = creations[n].task_uuid
        assert task_uuid is not None
        task = await engine.task(task_uuid)
        assert (task["name"], task["context"]) == (f"t{n % 3}", {"n": n})


async def test_what_was_created_before_the_database_failed_is_told(engine: Engine) -> None:
    calls = 0

    async def twice(template: TaskTemplate, requests: Sequence[TaskRequest]) -> Sequence[Creation]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise StoreUnavailableError("gone")
        return await engine.create_each(template, requests)

    template = chain(1)
    creations = await create_in_bulk(twice, [(template, TaskRequest())] * 3000)
    assert calls == 2
    assert [creation.task_uuid is not None for creation in creations] == [True] * 1000 + [False] * 2000
    assert all(isinstance(creation.error, StoreUnavailableError) for creation in creations[1000:])


async def test_a_database_that_fails_at_once_fails_the_whole(engine: Engine) -> None:
    async def never(template: TaskTemplate, requests: Sequence[TaskRequest]) -> Sequence[Creation]:
        raise StoreError("no")

    with pytest.raises(StoreError):
        await create_in_bulk(never, [(chain(1), TaskRequest())])


@pytest.mark.parametrize(
    "request_",
    [
        TaskRequest(),
        TaskRequest(tags=["a"], priority=-3, initiator="me", source_system="there", reason="so", idempotency_key="k"),
    ],
)
async def test_a_new_task_is_shown_without_reading_it_as_it_is_when_read(engine: Engine, request_: TaskRequest) -> None:
    choice = decision("choose", "root")
    template = dynamic(step("root"), step("other", "root"), choice, step("left", "choose"), convergence("end", "left"))
    (creation,) = await engine.create_each(template, [request_])
    assert creation.new is not None
    assert creation.task_uuid is not None
    assert await engine.details.created(*creation.new) == await engine.details.task(creation.task_uuid)


async def test_details_of_what_does_not_exist_are_not_found(engine: Engine) -> None:
    nothing = uuid4()
    for details in (engine.details.task, engine.details.steps, engine.details.summary):
        with pytest.raises(TaskNotFoundError):
            await details(nothing)
    with pytest.raises(TaskNotFoundError):
        await engine.details.step(nothing, nothing)
    task = await engine.create_task(chain(1), TaskRequest())
    with pytest.raises(StepNotFoundError):
        await engine.details.audit(task, UUID(int=task.int + 2))


async def test_a_task_is_required_to_be_within_namespaces(engine: Engine) -> None:
    task = await engine.create_task(chain(1, namespace_name="shop"), TaskRequest())
    await engine.details.require_within(task, None)
    await engine.details.require_within(task, {"shop", "test"})
    for namespaces in ({"test"}, set[str]()):
        with pytest.raises(TaskNotFoundError):
            await engine.details.require_within(task, namespaces)
