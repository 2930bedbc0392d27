"""State changes are told once each, in one order, wherever and however often a listener comes back."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import asyncpg
import pytest
from conftest import working
from tests.integration.support import chain, fetch, graph

from tasker_core.errors import RetryableError
from tasker_core.orchestration import Engine, TaskNotFoundError, TaskRequest, feed
from tasker_core.orchestration.feed import Change, News, Position
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.store import EmbeddedPostgres


@step_handler("work")
async def work() -> None: ...


def everything(_change: Change) -> bool:
    return True


async def take(news: AsyncGenerator[News, None], number: int) -> list[Change]:
    """The next so many changes."""
    changes: list[Change] = []
    async with asyncio.timeout(20), contextlib.aclosing(news):
        async for one in news:
            changes += one.changes
            if len(changes) >= number:
                return changes[:number]
    raise AssertionError("the feed ended")


async def told_of_task(engine: Engine, task: Any, after: Position | None = None) -> list[Change]:
    """All changes of a task that is over or will soon be."""
    changes: list[Change] = []
    async with asyncio.timeout(20):
        async for one in engine.feed.of_task(task, after):
            changes += one.changes
    return changes


async def ends(url: str) -> list[tuple[Any, ...]]:
    """What a feed of all tasks has to tell, in order."""
    rows = await fetch(
        url,
        """
        SELECT occurred_at, 0, sequence FROM tasker.step_transitions UNION ALL
        SELECT occurred_at, 3, sequence FROM tasker.task_transitions ORDER BY 1, 2, 3""",
    )
    return [Position.before(at)._replace(kind=kind, number=number) for at, kind, number in rows]


def positions(changes: list[Change]) -> list[Position]:
    return [change.position for change in changes]


async def test_the_feed_of_a_task_tells_its_whole_history(engine: Engine) -> None:
    attempts = 0

    @step_handler("flaky")
    async def flaky() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RetryableError("not yet")

    template = graph({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}, callables={"b": "flaky"})
    async with working(engine, {"work": work, "flaky": flaky}):
        task = await engine.create_task(template, TaskRequest())
        told = await told_of_task(engine, task)
    history = await engine.history(task)
    details = [json.loads(change.text) for change in told]
    assert [one["occurred_at"] for one in details] == [one["occurred_at"] for one in history]
    identity = {"task_uuid": str(task), "namespace": "test", "name": "graph"}

    def in_order(changes: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(change, sort_keys=True) for change in changes)

    assert in_order(details) == in_order([{**identity, **change} for change in history])


async def test_the_feed_of_a_task_can_be_resumed_at_every_change(engine: Engine) -> None:
    async with working(engine, {"work": work}):
        task = await engine.create_task(chain(3), TaskRequest())
        whole = positions(await told_of_task(engine, task))
    assert len(whole) == len(set(whole)) >= 8
    for seen, position in enumerate(whole, start=1):
        assert positions(await told_of_task(engine, task, position)) == whole[seen:]


async def test_a_long_history_is_told_in_pages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(engine, {"work": work}):
        # Many steps become ready in one instant, more than a page has.
        task = await engine.create_task(graph({f"s{n}": [] for n in range(20)}), TaskRequest())
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    whole = positions(await told_of_task(engine, task))
    monkeypatch.setattr(feed, "_PAGE", 3)
    assert positions(await told_of_task(engine, task)) == whole
    assert positions(await told_of_task(engine, task, whole[7])) == whole[8:]


async def test_the_feed_of_a_task_waits_while_the_task_is_blocked_and_ends_with_it(engine: Engine) -> None:
    @step_handler("broken")
    async def broken() -> None:
        raise ValueError("no")

    async with working(engine, {"broken": broken}):
        task = await engine.create_task(chain(1, callables={"s0": "broken"}), TaskRequest())
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
        news = engine.feed.of_task(task)
        async with asyncio.timeout(10), contextlib.aclosing(news):
            async for one in news:
                assert one.over is None
                if any(json.loads(change.text)["to_state"] == "blocked_by_failures" for change in one.changes):
                    break
            await engine.cancel_task(task, actor="me", reason="enough")
            over = [one.over async for one in engine.feed.of_task(task)]
    assert over[-1] is TaskState.CANCELLED


async def test_there_is_no_feed_of_an_unknown_task(engine: Engine) -> None:
    task = await engine.create_task(chain(1), TaskRequest())
    unknown = type(task)(int=task.int ^ (1 << 40))
    with pytest.raises(TaskNotFoundError):
        await anext(engine.feed.of_task(unknown))


async def test_the_feed_of_all_can_be_resumed_at_every_change(engine: Engine, database_url: str) -> None:
    start = await engine.feed.now()
    async with working(engine, {"work": work}):
        for task in await engine.create_tasks(chain(2), [TaskRequest()] * 5):
            await engine.wait(task, 10)
    whole = await ends(database_url)
    assert positions(await take(engine.feed.of_all(start, everything), len(whole))) == whole
    for seen, position in enumerate(whole[:-1], start=1):
        rest = await take(engine.feed.of_all(position, everything), len(whole) - seen)
        assert positions(rest) == whole[seen:]


async def test_however_often_a_listener_comes_back_he_is_told_the_same(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listeners of two servers come and go while work is done; small pages, and next to nothing is kept in memory."""
    monkeypatch.setattr(feed, "_PAGE", 7)
    monkeypatch.setattr(feed, "_KEPT", 11)
    monkeypatch.setattr(feed, "POLL_SECONDS", 0.02)
    done = asyncio.Event()
    random.seed(7)

    async def listen(engines: list[Engine], start: Position) -> list[Position]:
        """Comes back after a random number of changes, to a random server, until all work is told."""
        seen: list[Position] = []
        position = start
        while not done.is_set() or seen != await ends(database_url):
            patience = random.randrange(1, 60)
            news = random.choice(engines).feed.of_all(position, everything, patience=0.2)
            async with contextlib.aclosing(news):
                async for one in news:
                    for change in one.changes:
                        seen.append(change.position)
                        position = change.position
                        patience -= 1
                        if not patience:
                            break
                    if patience <= 0 or not one.changes:
                        break
        return seen

    async with Engine(database_url) as other, working(engine, {"work": work}), working(other, {"work": work}):
        start = await engine.feed.now()
        listeners = [asyncio.create_task(listen([engine, other], start)) for _ in range(4)]
        for _ in range(10):
            tasks = await engine.create_tasks(chain(3), [TaskRequest()] * 10)
            for task in tasks:
                await engine.wait(task, 20)
        done.set()
        async with asyncio.timeout(40):
            told = await asyncio.gather(*listeners)
    whole = await ends(database_url)
    assert len(whole) == 10 * 10 * 5
    assert all(seen == whole for seen in told)


async def test_what_happens_after_a_transaction_that_is_still_open_is_told_after_it(
    engine: Engine, database_url: str
) -> None:
    early = await engine.create_task(chain(1, name="early"), TaskRequest())
    start = await engine.feed.now()
    connection = await asyncpg.connect(database_url, server_settings={"application_name": "tasker"})
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "INSERT INTO tasker.task_transitions (task_uuid, from_state, to_state, occurred_at, reason) "
            "VALUES ($1, 'pending', 'pending', clock_timestamp(), 'slow')",
            early,
        )
        late = await engine.create_task(chain(1, name="late"), TaskRequest())
        await engine.cancel_task(late, actor="me", reason="fast")
        silent = engine.feed.of_all(start, everything, patience=1.5)
        async with contextlib.aclosing(silent):
            assert (await anext(silent)).changes == []
            await transaction.commit()
            told = await take(silent, 3)
    finally:
        await connection.close()
    assert [change.name for change in told] == ["early", "late", "late"]


async def test_an_outage_of_the_database_only_delays_a_feed(own_postgres: EmbeddedPostgres) -> None:
    async with Engine(own_postgres.url) as engine:
        start = await engine.feed.now()
        news = engine.feed.of_all(start, everything, patience=0.1)
        async with contextlib.aclosing(news):
            assert (await anext(news)).changes == []
            await asyncio.to_thread(own_postgres.restart)
            task = await engine.create_task(chain(1), TaskRequest())
            await engine.cancel_task(task, actor="me", reason="enough")
            told = await take(news, 2)
        assert [json.loads(change.text)["to_state"] for change in told] == ["cancelled", "cancelled"]


async def test_nobody_looks_for_changes_while_nobody_listens(engine: Engine) -> None:
    looks = 0
    look: Callable[[], Any] = engine.feed._look

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await look()

    engine.feed._look = counted  # type: ignore[method-assign]
    start = await engine.feed.now()
    one, other = (engine.feed.of_all(start, everything, patience=0.1) for _ in range(2))
    await asyncio.gather(anext(one), anext(other))
    assert looks == 1
    await one.aclose()
    await other.aclose()
    assert engine.feed._looking is None


async def test_the_position_of_an_event_survives_being_written_down() -> None:
    position = Position(1_700_000_000_123_456, 2, 17)
    assert Position.parse(str(position)) == position
    assert Position.before(position.time).microseconds == position.microseconds
    for junk in ("", "1", "1-2", "1-4-1", "-1-2-3", "1-2-3x", "9" * 30 + "-1-1", "1-1-" + "9" * 30):
        with pytest.raises(ValueError, match="not the id"):
            Position.parse(junk)
