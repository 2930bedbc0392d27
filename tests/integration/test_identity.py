"""When two requests are the same request, and what happens to the second one."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from tests.integration.dynamic import by_hand, task_state
from tests.integration.support import fetch, graph, snapshot

from tasker_core.orchestration import DuplicateTaskError, Engine, InvalidTaskError, TaskRequest
from tasker_core.template import IdentityStrategy, TaskTemplate

#: Pinned: tasks of last year must still be recognised.
IDENTITY_OF_THE_EXAMPLE = "5307102b428d53a010397bf13ad0cd73b4977453741fce9713266cabe42b5ad3"

STRICT, CALLER, UNIQUE = (
    IdentityStrategy.STRICT,
    IdentityStrategy.CALLER_PROVIDED,
    IdentityStrategy.ALWAYS_UNIQUE,
)


def template(strategy: IdentityStrategy = STRICT, **fields: Any) -> TaskTemplate:
    return graph({"only": []}, identity_strategy=strategy, **fields)


async def refused(engine: Engine, shape: TaskTemplate, request: TaskRequest) -> UUID | None:
    """The task that a request is a duplicate of."""
    with pytest.raises(DuplicateTaskError, match=r"^A task with this identity already exists$") as error:
        await engine.create_task(shape, request)
    return error.value.existing


async def count(url: str) -> int:
    return int((await fetch(url, "SELECT count(*) FROM tasker.tasks"))[0][0])


# -- strict


async def test_the_same_context_is_the_same_request_and_the_error_names_the_task_that_exists(engine: Engine) -> None:
    task = await engine.create_task(template(), TaskRequest({"order": 7}))
    assert await refused(engine, template(), TaskRequest({"order": 7})) == task


async def test_a_refused_duplicate_leaves_nothing_behind(engine: Engine, database_url: str) -> None:
    await engine.create_task(template(), TaskRequest({"order": 7}))
    before = await snapshot(database_url)
    await refused(engine, template(), TaskRequest({"order": 7}))
    assert await snapshot(database_url) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"deep": {"x": [{"p": 1, "q": None}], "y": "é"}}, {"deep": {"y": "é", "x": [{"q": None, "p": 1}]}}),
        ({}, {}),
    ],
    ids=["flat", "nested", "empty"],
)
async def test_the_order_of_keys_does_not_matter(engine: Engine, one: dict[str, Any], other: dict[str, Any]) -> None:
    task = await engine.create_task(template(), TaskRequest(one))
    assert await refused(engine, template(), TaskRequest(other)) == task


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": {"b": 1}}, {"a.b": 1}),
        ({"a": 2**60}, {"a": 2**60 + 1}),
    ],
)
async def test_any_difference_in_the_context_is_another_request(
    engine: Engine, one: dict[str, Any], other: dict[str, Any]
) -> None:
    tasks = {await engine.create_task(template(), TaskRequest(context)) for context in (one, other)}
    assert len(tasks) == 2


async def test_nothing_but_the_context_counts(engine: Engine) -> None:
    task = await engine.create_task(template(), TaskRequest({"a": 1}))
    request = TaskRequest(
        {"a": 1}, priority=5, initiator="bob", source_system="shop", reason="again", tags=["x"], correlation_id=task
    )
    assert await refused(engine, template(), request) == task


@pytest.mark.parametrize("fields", [{"version": "1.0.1"}, {"namespace_name": "other"}, {"name": "other"}])
async def test_the_same_context_for_another_template_is_another_request(engine: Engine, fields: dict[str, Any]) -> None:
    await engine.create_task(template(), TaskRequest({"a": 1}))
    await engine.create_task(template(**fields), TaskRequest({"a": 1}))


async def test_a_request_stays_the_same_when_the_template_changes_under_its_version(engine: Engine) -> None:
    task = await engine.create_task(template(), TaskRequest({"a": 1}))
    assert await refused(engine, template(description="reworded"), TaskRequest({"a": 1})) == task


async def test_a_task_that_is_over_still_counts(engine: Engine) -> None:
    finished = await engine.create_task(template(), TaskRequest({"a": 1}))
    cancelled = await engine.create_task(template(), TaskRequest({"a": 2}))
    await engine.cancel_task(cancelled, actor="ann", reason="no")
    await engine.resolve_step(finished, "only", actor="ann", reason="done")
    assert await task_state(engine, finished) == "complete"
    assert await refused(engine, template(), TaskRequest({"a": 1})) == finished
    assert await refused(engine, template(), TaskRequest({"a": 2})) == cancelled


# -- keys and the other strategies


@pytest.mark.parametrize("strategy", [STRICT, CALLER, UNIQUE])
async def test_two_requests_with_one_key_are_the_same_whatever_their_contexts(
    engine: Engine, strategy: IdentityStrategy
) -> None:
    task = await engine.create_task(template(strategy), TaskRequest({"a": 1}, idempotency_key="k"))
    assert await refused(engine, template(strategy), TaskRequest({"b": 2}, idempotency_key="k")) == task


@pytest.mark.parametrize("strategy", [STRICT, CALLER, UNIQUE])
async def test_two_keys_are_two_requests_although_their_contexts_are_equal(
    engine: Engine, strategy: IdentityStrategy
) -> None:
    keys = ("k", "K", " k", "k ", "clé", "k\n")
    tasks = {await engine.create_task(template(strategy), TaskRequest({}, idempotency_key=key)) for key in keys}
    assert len(tasks) == len(keys)


async def test_a_key_holds_within_its_template_only(engine: Engine) -> None:
    for version in ("1.0.0", "2.0.0"):
        await engine.create_task(template(version=version), TaskRequest(idempotency_key="k"))


async def test_a_request_with_a_key_is_not_the_same_as_one_without(engine: Engine) -> None:
    await engine.create_task(template(), TaskRequest({"a": 1}))
    await engine.create_task(template(), TaskRequest({"a": 1}, idempotency_key="k"))
    await engine.create_task(template(), TaskRequest(idempotency_key='{"a":1}'))


async def test_a_template_may_demand_a_key(engine: Engine, database_url: str) -> None:
    message = "idempotency_key is required when named task uses CallerProvided identity strategy"
    with pytest.raises(InvalidTaskError, match=rf"^{message}$"):
        await engine.create_task(template(CALLER), TaskRequest({"a": 1}))
    assert await count(database_url) == 0


@pytest.mark.parametrize("key", ["", " ", "\0"])
async def test_a_key_that_names_nothing_is_refused(engine: Engine, key: str) -> None:
    with pytest.raises(InvalidTaskError, match="idempotency_key"):
        await engine.create_task(template(), TaskRequest(idempotency_key=key))


async def test_a_template_may_make_every_request_its_own(engine: Engine) -> None:
    tasks = {await engine.create_task(template(UNIQUE), TaskRequest({"a": 1})) for _ in range(5)}
    assert len(tasks) == 5
    assert {(await engine.task(task))["identity_hash"] for task in tasks} == {None}


async def test_the_view_shows_a_sha_256_that_is_the_same_in_every_process(engine: Engine) -> None:
    task = await engine.create_task(template(), TaskRequest({"b": [1, 2.5], "a": "é"}))
    shown = (await engine.task(task))["identity_hash"]
    assert shown == IDENTITY_OF_THE_EXAMPLE


# -- the task that exists instead


async def test_whoever_wants_it_gets_the_task_that_exists(engine: Engine, database_url: str) -> None:
    task = await engine.create_task(template(), TaskRequest({"a": 1}))
    assert await engine.create_task(template(), TaskRequest({"a": 1}), return_existing=True) == task
    assert await engine.create_task(template(), TaskRequest({"a": 2}), return_existing=True) != task
    assert await count(database_url) == 2


async def test_in_a_bulk_request_each_gets_its_own_or_the_one_that_exists(engine: Engine, database_url: str) -> None:
    old = await engine.create_task(template(), TaskRequest({"n": 1}))
    requests = [TaskRequest({"n": n}) for n in (0, 1, 2, 0, 1)]
    tasks = await engine.create_tasks(template(), requests, return_existing=True)
    assert (tasks[1], tasks[4], tasks[3]) == (old, old, tasks[0])
    assert len(set(tasks)) == 3
    assert await count(database_url) == 3
    assert (await engine.task(tasks[0]))["context"] == {"n": 0}


async def test_a_bulk_request_with_a_duplicate_creates_nothing(engine: Engine, database_url: str) -> None:
    old = await engine.create_task(template(), TaskRequest({"n": 1}))
    with pytest.raises(DuplicateTaskError) as error:
        await engine.create_tasks(template(), [TaskRequest({"n": n}) for n in (0, 1, 2)])
    assert error.value.existing == old
    assert await count(database_url) == 1


async def test_two_equal_requests_in_one_bulk_are_refused_without_naming_a_task(
    engine: Engine, database_url: str
) -> None:
    with pytest.raises(DuplicateTaskError) as error:
        await engine.create_tasks(template(), [TaskRequest({"n": n}) for n in (0, 1, 0)])
    assert error.value.existing is None
    assert await count(database_url) == 0


async def test_a_task_whose_twin_was_found_runs_with_its_own_context(engine: Engine) -> None:
    await engine.create_task(template(), TaskRequest({"a": 1}, idempotency_key="k"))
    await engine.create_task(template(), TaskRequest({"b": 2}, idempotency_key="k"), return_existing=True)
    async with by_hand(engine) as hands:
        await hands.claim()
        assert hands.held["only"].context() == {"a": 1}


@pytest.mark.parametrize("return_existing", [False, True])
async def test_of_many_equal_requests_at_once_one_creates_the_task(
    engine: Engine, database_url: str, return_existing: bool
) -> None:
    async with Engine(database_url) as other:
        answers = await asyncio.gather(
            *(
                source.create_task(template(), TaskRequest({"a": 1}), return_existing=return_existing)
                for source in (engine, other) * 10
            ),
            return_exceptions=True,
        )
    created = [answer for answer in answers if isinstance(answer, UUID)]
    twins = [answer.existing for answer in answers if isinstance(answer, DuplicateTaskError)]
    assert len(created) + len(twins) == 20
    assert len(created) == (20 if return_existing else 1)
    assert {*created, *twins} == {created[0]}
    assert await count(database_url) == 1


async def test_bulk_requests_that_overlap_at_once_share_their_tasks(engine: Engine, database_url: str) -> None:
    async with Engine(database_url) as other:
        answers = await asyncio.gather(
            *(
                source.create_tasks(
                    template(), [TaskRequest({"n": n}) for n in range(shift, shift + 20)], return_existing=True
                )
                for shift, source in enumerate((engine, other) * 4)
            )
        )
    assert await count(database_url) == 27
    by_number: dict[int, set[UUID]] = {}
    for shift, tasks in enumerate(answers):
        for offset, task in enumerate(tasks):
            by_number.setdefault(shift + offset, set()).add(task)
    assert all(len(tasks) == 1 for tasks in by_number.values())


async def test_bulk_requests_in_opposite_orders_at_once_do_not_wait_for_each_other(
    engine: Engine, database_url: str
) -> None:
    requests = [TaskRequest({"n": n}) for n in range(300)]
    async with Engine(database_url) as other:
        answers = await asyncio.gather(
            *(
                source.create_tasks(template(), requests[::step], return_existing=True)
                for source, step in ((engine, 1), (other, -1)) * 4
            )
        )
    assert {tuple(sorted(tasks)) for tasks in answers} == {tuple(sorted(answers[0]))}
    assert await count(database_url) == 300
