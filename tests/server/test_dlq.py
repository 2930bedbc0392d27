"""Dead letters and staleness over HTTP."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import httpx
import pytest
from conftest import working
from fastapi import Request
from tests.integration.support import chain, fetch, graph

from tasker_core.access import ALL_PERMISSIONS, Caller, Permission
from tasker_core.errors import PermanentError
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_handler.functional import step_handler
from tasker_core.template import Lifecycle

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Known:
    """Everybody is the one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        return self.caller


@pytest.fixture
async def scoped(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of ann, who may do everything, in the namespace ``shop``."""
    async with serve(authenticator=Known(Caller("ann", ALL_PERMISSIONS, frozenset({"shop"})))) as client:
        yield client


@step_handler("work")
async def fail() -> dict[str, Any]:
    raise PermanentError("no such account")


@step_handler("work")
async def work() -> dict[str, Any]:
    return {}


async def dead_letter(engine: Engine, namespace: str = "shop") -> UUID:
    """Create a task that fails, and return it."""
    task = await engine.create_task(graph({"only": []}, namespace_name=namespace), TaskRequest())
    async with working(engine, {"work": fail}):
        assert await engine.wait(task, 10) is TaskState.BLOCKED_BY_FAILURES
    return task


async def entry_of(http: httpx.AsyncClient, task: UUID) -> dict[str, Any]:
    answer = await http.get(f"/v1/dlq/task/{task}")
    assert answer.status_code == 200
    entry: dict[str, Any] = answer.json()
    return entry


async def test_an_entry_has_the_same_keys_wherever_it_is_shown(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await dead_letter(engine)
    entry = await entry_of(http, task)
    assert (await http.get("/v1/dlq")).json() == [entry]
    assert (await http.get(f"/v1/dlq/entry/{entry['dlq_entry_uuid']}")).json() == entry
    fixed = {key: entry[key] for key in entry if key not in {"task_snapshot", "metadata", "dlq_entry_uuid"}}
    assert fixed == {
        "task_uuid": str(task),
        "namespace": "shop",
        "name": "graph",
        "version": "1.0.0",
        "step": None,
        "original_state": "blocked_by_failures",
        "dlq_reason": "max_retries_exceeded",
        "dlq_timestamp": entry["created_at"],
        "resolution_status": "pending",
        "resolution_timestamp": None,
        "resolution_notes": None,
        "resolved_by": None,
        "created_at": entry["created_at"],
        "updated_at": entry["created_at"],
    }
    snapshot = entry["task_snapshot"]
    times = [snapshot["snapshot_timestamp"], *(snapshot["task_details"][key] for key in ("requested_at", "created_at"))]
    assert all(time.endswith("Z") for time in [*times, entry["created_at"]])
    assert entry["metadata"]["failed_steps"][0]["message"] == "no such account"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"resolution_status": "pending"}, 1),
        ({"resolution_status": "ManuallyResolved"}, 1),
        ({"resolution_status": "manually_resolved"}, 1),
        ({"resolution_status": "PERMANENTLY_FAILED"}, 0),
        ({"dlq_reason": "MaxRetriesExceeded"}, 2),
        ({"dlq_reason": "max_retries_exceeded", "resolution_status": "Pending"}, 1),
        ({"dlq_reason": "manual_dlq"}, 0),
    ],
)
async def test_the_list_is_filtered_by_both_spellings(
    http: httpx.AsyncClient, engine: Engine, query: dict[str, str], count: int
) -> None:
    await dead_letter(engine)
    closed = await entry_of(http, await dead_letter(engine))
    await engine.resolve_dlq_entry(UUID(closed["dlq_entry_uuid"]), action="none", actor="ann")
    assert len((await http.get("/v1/dlq", params=query)).json()) == count


async def test_the_list_is_paged_newest_first_by_offset_and_by_cursor(http: httpx.AsyncClient, engine: Engine) -> None:
    tasks = [str(await dead_letter(engine)) for _ in range(3)][::-1]
    first = (await http.get("/v1/dlq", params={"limit": 2})).json()
    assert [entry["task_uuid"] for entry in first] == tasks[:2]
    cursor = first[-1]["dlq_entry_uuid"]
    for page in ({"cursor": cursor}, {"offset": 2}, {"cursor": first[0]["dlq_entry_uuid"], "offset": 1}):
        rest = (await http.get("/v1/dlq", params=page)).json()
        assert [entry["task_uuid"] for entry in rest] == tasks[2:]
    assert (await http.get("/v1/dlq", params={"cursor": str(uuid.uuid4())})).json() == []


@pytest.mark.parametrize(
    "path",
    [
        *("?limit=0", "?limit=1001", "?offset=-1", "?offset=99999999999999999999", "?cursor=x", "?limit=x"),
        *("?resolution_status=open", "?dlq_reason=%00", "/task/x", "/entry/x", "/staleness?limit=0"),
        *("/investigation-queue?limit=0", "/investigation-queue?limit=1001"),
    ],
)
async def test_nonsense_in_the_address_is_a_bad_request(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"/v1/dlq{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


async def test_what_does_not_exist_is_not_found_by_its_uuid(http: httpx.AsyncClient) -> None:
    missing = uuid.uuid4()
    for answer in (
        await http.get(f"/v1/dlq/entry/{missing}"),
        await http.patch(f"/v1/dlq/entry/{missing}", json={}),
        await http.post(f"/v1/dlq/entry/{missing}/resolve", json={"action": "none"}),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == f"DLQ entry not found: {missing}"
    answer = await http.get(f"/v1/dlq/task/{missing}")
    assert answer.json()["error"]["message"] == f"DLQ entry not found for task {missing}"


async def test_an_update_closes_the_entry_and_keeps_what_it_does_not_name(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    task = await dead_letter(engine)
    before = await entry_of(http, task)
    path = f"/v1/dlq/entry/{before['dlq_entry_uuid']}"
    noted = await http.patch(path, json={"resolution_notes": "asked the bank", "metadata": {"ticket": "OPS-1"}})
    assert noted.json() == {
        "success": True,
        "message": "Investigation status updated successfully",
        "dlq_entry_uuid": before["dlq_entry_uuid"],
    }
    updated = await entry_of(http, task)
    assert updated == before | {
        "resolution_notes": "asked the bank",
        "metadata": {"ticket": "OPS-1"},
        "updated_at": updated["updated_at"],
    }
    assert updated["updated_at"] > before["updated_at"]
    await http.patch(path, json={"resolution_status": "PermanentlyFailed", "resolved_by": "bob", "metadata": None})
    after = await entry_of(http, task)
    assert after["updated_at"] >= after["resolution_timestamp"] > before["created_at"]
    changed = {key: after[key] for key in after if after[key] != before[key]}
    assert changed == {
        "resolution_status": "permanently_failed",
        "resolution_timestamp": after["resolution_timestamp"],
        "updated_at": after["updated_at"],
        "resolved_by": "bob",
        "resolution_notes": "asked the bank",
        "metadata": {"ticket": "OPS-1"},
    }
    assert (await engine.task(task))["status"] == "blocked_by_failures"


async def test_an_empty_update_changes_nothing_but_the_time_of_the_update(
    http: httpx.AsyncClient, engine: Engine
) -> None:
    before = await entry_of(http, await dead_letter(engine))
    path = f"/v1/dlq/entry/{before['dlq_entry_uuid']}"
    for body in ({}, {"resolution_status": None}, {"resolution_status": "Pending"}):
        assert (await http.patch(path, json=body)).status_code == 200
    after = await entry_of(http, UUID(before["task_uuid"]))
    assert after == before | {"updated_at": after["updated_at"]}


async def test_a_closed_entry_is_not_opened_again(http: httpx.AsyncClient, engine: Engine) -> None:
    entry = await entry_of(http, await dead_letter(engine))
    path = f"/v1/dlq/entry/{entry['dlq_entry_uuid']}"
    await http.patch(path, json={"resolution_status": "cancelled"})
    answer = await http.patch(path, json={"resolution_status": "pending"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await http.patch(path, json={"resolution_status": "manually_resolved"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"resolution_status": "open"}', 422),
        (b'{"resolution_status": 3}', 422),
        (b'{"metadata": []}', 422),
        (b'{"metadata": {"a": "\\u0000"}}', 422),
        (b'{"resolution_notes": 7}', 422),
        (b'{"resolved_by": ""}', 422),
        (b'{"resolution_note": "misspelled"}', 422),
        (b"[]", 422),
    ],
)
async def test_an_update_of_the_wrong_shape_is_refused(
    http: httpx.AsyncClient, engine: Engine, body: bytes, status: int
) -> None:
    entry = await entry_of(http, await dead_letter(engine))
    answer = await http.patch(
        f"/v1/dlq/entry/{entry['dlq_entry_uuid']}", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert await entry_of(http, UUID(entry["task_uuid"])) == entry


async def test_the_name_of_an_authenticated_caller_counts_and_not_the_one_in_the_body(
    scoped: httpx.AsyncClient, engine: Engine
) -> None:
    updated, resolved = [await entry_of(scoped, await dead_letter(engine)) for _ in range(2)]
    await scoped.patch(
        f"/v1/dlq/entry/{updated['dlq_entry_uuid']}",
        json={"resolution_status": "manually_resolved", "resolved_by": "mallory"},
    )
    await scoped.post(f"/v1/dlq/entry/{resolved['dlq_entry_uuid']}/resolve", json={"action": "none"})
    for entry in (updated, resolved):
        assert (await entry_of(scoped, UUID(entry["task_uuid"])))["resolved_by"] == "ann"


async def test_retry_lets_the_task_go_on_and_closes_the_entry(http: httpx.AsyncClient, engine: Engine) -> None:
    task = await dead_letter(engine)
    entry = await entry_of(http, task)
    path = f"/v1/dlq/entry/{entry['dlq_entry_uuid']}/resolve"
    tried = (await http.post(path, json={"action": "retry", "dry_run": True})).json()
    assert tried["change"]["dry_run"] is True
    assert await entry_of(http, task) == entry
    done = await http.post(path, json={"action": "retry", "notes": "account exists now"})
    assert done.status_code == 200
    assert done.json()["change"]["steps"] == [{"step": "only", "from_state": "error", "to_state": "enqueued"}]
    assert done.json()["resolution_status"] == "manually_resolved"
    assert done.json()["resolution_notes"] == "account exists now"
    async with working(engine, {"work": work}):
        assert await engine.wait(task, 10) is TaskState.COMPLETE
    again = await http.post(path, json={"action": "retry"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")


@pytest.mark.parametrize(
    ("action", "state", "status"),
    [
        ("resolve", "resolved_manually", "manually_resolved"),
        ("discard", "error", "permanently_failed"),
        ("cancel", "cancelled", "cancelled"),
        ("none", "blocked_by_failures", "manually_resolved"),
    ],
)
async def test_each_action_leaves_task_and_entry_as_it_says(
    http: httpx.AsyncClient, engine: Engine, action: str, state: str, status: str
) -> None:
    task = await dead_letter(engine)
    entry = await entry_of(http, task)
    answer = await http.post(f"/v1/dlq/entry/{entry['dlq_entry_uuid']}/resolve", json={"action": action})
    assert answer.status_code == 200
    assert (await engine.task(task))["status"] == state
    assert (await entry_of(http, task))["resolution_status"] == status


@pytest.mark.parametrize("body", [{}, {"action": "explode"}, {"action": None}, {"action": "retry", "dry_run": "no"}])
async def test_resolving_without_a_known_action_is_refused(
    http: httpx.AsyncClient, engine: Engine, body: dict[str, Any]
) -> None:
    entry = await entry_of(http, await dead_letter(engine))
    answer = await http.post(f"/v1/dlq/entry/{entry['dlq_entry_uuid']}/resolve", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")


async def test_stats_count_entries_by_reason(http: httpx.AsyncClient, engine: Engine) -> None:
    assert (await http.get("/v1/dlq/stats")).json() == []
    tasks = [await dead_letter(engine) for _ in range(3)]
    for task, action in zip(tasks, ("discard", "cancel"), strict=False):
        await engine.resolve_dlq_entry(UUID((await entry_of(http, task))["dlq_entry_uuid"]), action=action, actor="ann")
    (row,) = (await http.get("/v1/dlq/stats")).json()
    assert row["oldest_entry"] < row["newest_entry"]
    assert 0 <= row["avg_resolution_time_minutes"] < 1
    assert {key: row[key] for key in row if not key.endswith(("_entry", "_minutes"))} == {
        "dlq_reason": "max_retries_exceeded",
        "total_entries": 3,
        "pending": 1,
        "manually_resolved": 0,
        "permanent_failures": 1,
        "cancelled": 1,
    }


async def test_the_queue_lists_open_entries_by_reason_and_age(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    fresh, old, idle, closed = [await dead_letter(engine) for _ in range(4)]
    statement = """
        UPDATE tasker.dead_letters SET created_at = created_at - make_interval(mins => $2), reason = $3::text::tasker
            .dead_letter_reason WHERE task_uuid = $1"""
    await fetch(database_url, statement, old, 20, "max_retries_exceeded")
    await fetch(database_url, statement, idle, 10, "worker_unavailable")
    entry = await entry_of(http, closed)
    await engine.resolve_dlq_entry(UUID(entry["dlq_entry_uuid"]), action="none", actor="ann")
    queue = (await http.get("/v1/dlq/investigation-queue")).json()
    assert [row["task_uuid"] for row in queue] == [str(old), str(fresh), str(idle)]
    assert [int(row["priority_score"]) for row in queue] == [520, 500, 60]
    assert [int(row["minutes_in_dlq"]) for row in queue] == [20, 0, 10]
    first = queue[0]
    assert {key: first[key] for key in first if key not in {"minutes_in_dlq", "priority_score"}} == {
        "dlq_entry_uuid": (await entry_of(http, old))["dlq_entry_uuid"],
        "task_uuid": str(old),
        "original_state": "blocked_by_failures",
        "dlq_reason": "max_retries_exceeded",
        "dlq_timestamp": (await entry_of(http, old))["dlq_timestamp"],
        "namespace_name": "shop",
        "task_name": "graph",
        "current_state": "blocked_by_failures",
        "time_in_state_minutes": 0,
    }
    assert len((await http.get("/v1/dlq/investigation-queue", params={"limit": 2})).json()) == 2


async def waiting(engine: Engine, url: str, minutes: int, **template: Any) -> str:
    """Create a task whose first step has waited for a handler for so many minutes; return its UUID."""
    task = await engine.create_task(chain(1, **{"namespace_name": "shop", **template}), TaskRequest(priority=3))
    await fetch(
        url,
        "UPDATE tasker.step_queue SET enqueued_at = enqueued_at - make_interval(mins => $2) WHERE task_uuid = $1",
        *(task, minutes),
    )
    await fetch(
        url,
        "UPDATE tasker.tasks SET created_at = created_at - make_interval(mins => $2) WHERE task_uuid = $1",
        *(task, minutes),
    )
    return str(task)


async def test_tasks_are_labelled_by_how_near_their_limit_they_are(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    # Without a word of the template, a task may be pending for 60 minutes.
    ages = {await waiting(engine, database_url, minutes): minutes for minutes in (5, 50, 70, 47, 90)}
    rows = (await http.get("/v1/dlq/staleness")).json()
    assert [(ages[row["task_uuid"]], row["health_status"]) for row in rows] == [
        (90, "stale"),
        (70, "stale"),
        (50, "warning"),
        (47, "healthy"),
        (5, "healthy"),
    ]
    assert rows[0] == {
        "task_uuid": rows[0]["task_uuid"],
        "namespace_name": "shop",
        "task_name": "graph",
        "current_state": "pending",
        "time_in_state_minutes": 90,
        "task_age_minutes": 90,
        "staleness_threshold_minutes": 60,
        "health_status": "stale",
        "priority": 3,
    }
    limited = (await http.get("/v1/dlq/staleness", params={"limit": 3})).json()
    assert [row["health_status"] for row in limited] == ["stale", "stale", "warning"]


async def test_the_template_sets_the_thresholds_and_the_nearest_one_counts(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    patient = Lifecycle(max_waiting_for_dependencies_minutes=500, max_duration_minutes=100)
    late = await waiting(engine, database_url, 85, lifecycle=patient)
    strict = await waiting(
        engine, database_url, 9, name="strict", lifecycle=Lifecycle(max_waiting_for_dependencies_minutes=10)
    )
    rows = {row["task_uuid"]: row for row in (await http.get("/v1/dlq/staleness")).json()}
    assert {task: (row["staleness_threshold_minutes"], row["health_status"]) for task, row in rows.items()} == {
        late: (100, "warning"),
        strict: (10, "warning"),
    }


async def test_a_task_that_only_queues_for_a_live_worker_is_healthy(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    task = await waiting(engine, database_url, 500)
    await engine.store.register_worker("busy", "here", 1, ["work"])
    (row,) = (await http.get("/v1/dlq/staleness")).json()
    assert row["task_uuid"] == task
    assert (row["health_status"], row["time_in_state_minutes"], row["task_age_minutes"]) == ("healthy", 0, 500)


async def test_what_is_listed_as_stale_is_what_a_sweep_finds(
    http: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    for minutes in (10, 59, 61, 300):
        await waiting(engine, database_url, minutes)
    await waiting(engine, database_url, 130, name="deadline", lifecycle=Lifecycle(max_duration_minutes=120))
    swept = {row["task_uuid"] for row in await engine.sweep(dry_run=True)}
    rows = (await http.get("/v1/dlq/staleness")).json()
    assert {row["task_uuid"] for row in rows if row["health_status"] == "stale"} == swept
    assert len(swept) == 3


async def test_whoever_is_limited_to_a_namespace_sees_and_touches_no_other(
    scoped: httpx.AsyncClient, engine: Engine, database_url: str
) -> None:
    own, foreign = await dead_letter(engine), await dead_letter(engine, "bank")
    await waiting(engine, database_url, 90)
    await waiting(engine, database_url, 90, namespace_name="bank")
    await waiting(engine, database_url, 5, namespace_name="bank")
    (hidden,) = [entry for entry in await engine.dlq_entries() if entry["task_uuid"] == str(foreign)]
    path = f"/v1/dlq/entry/{hidden['dlq_entry_uuid']}"
    assert [entry["task_uuid"] for entry in (await scoped.get("/v1/dlq")).json()] == [str(own)]
    assert [row["total_entries"] for row in (await scoped.get("/v1/dlq/stats")).json()] == [1]
    queue = (await scoped.get("/v1/dlq/investigation-queue")).json()
    assert [row["task_uuid"] for row in queue] == [str(own)]
    assert [row["namespace_name"] for row in (await scoped.get("/v1/dlq/staleness")).json()] == ["shop"]
    for answer in (
        await scoped.get(f"/v1/dlq/task/{foreign}"),
        await scoped.get(path),
        await scoped.patch(path, json={"resolution_status": "cancelled"}),
        await scoped.post(f"{path}/resolve", json={"action": "cancel"}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert await engine.dlq_entry(UUID(hidden["dlq_entry_uuid"])) == hidden
    assert (await engine.task(foreign))["status"] == "blocked_by_failures"


async def test_each_route_needs_its_permission(serve: Serve) -> None:
    async with serve(authenticator=Known(Caller("ann", frozenset({Permission.DLQ_READ})))) as client:
        for path in ("", "/investigation-queue", "/staleness"):
            assert (await client.get(f"/v1/dlq{path}")).status_code == 200
        assert (await client.get(f"/v1/dlq/entry/{uuid.uuid4()}")).status_code == 404
        for method, path, permission in (
            ("GET", "stats", "dlq:stats"),
            ("PATCH", f"entry/{uuid.uuid4()}", "dlq:update"),
            ("POST", f"entry/{uuid.uuid4()}/resolve", "dlq:update"),
        ):
            answer = await client.request(method, f"/v1/dlq/{path}", content="nonsense")
            assert answer.status_code == 403
            assert answer.json()["error"]["message"] == f"Missing required permission: {permission}"
