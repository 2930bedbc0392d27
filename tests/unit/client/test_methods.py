"""What each method asks, and what its answer becomes."""

import inspect
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.unit.client.conftest import Answer

from tasker_core.client import AsyncTaskerClient, InvalidRequestError, TaskerClient, TaskResponse, WaitTimeoutError

TASK = "0194c8a2-6f31-7c0d-8e52-3b1f6a000000"
STEP = "0194c8a2-6f31-7c0d-8e52-3b1f6a000001"
TEMPLATE = "name: order\nnamespace_name: shop\n"


def test_a_creation_sends_the_client_s_names_and_everything_that_is_given(ask, server):
    ask.options = {"initiator": "web", "source_system": "shop"}
    ask("create_task", "order", namespace="shop", context={"total": 3}, tags=["a"], priority=None, idempotency_key="k")

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/tasks")
    assert asked.body == {
        "name": "order",
        "namespace": "shop",
        "version": "1.0.0",
        "context": {"total": 3},
        "initiator": "web",
        "source_system": "shop",
        "reason": "Task requested",
        "tags": ["a"],
        "priority": None,
        "idempotency_key": "k",
    }


def test_what_is_given_with_a_creation_goes_before_the_client_s_names(ask, server):
    ask("create_task", "order", initiator="cron")
    assert server.asked[0].body["initiator"] == "cron"
    assert server.asked[0].body["context"] == {}


def test_a_creation_takes_what_has_a_json_form(ask, server):
    ask("create_task", "order", context={"id": UUID(TASK), "at": datetime(2030, 1, 31, tzinfo=UTC)})
    assert server.asked[0].body["context"] == {"id": TASK, "at": "2030-01-31T00:00:00Z"}


def test_many_tasks_are_created_with_one_request(ask, server):
    server.script = [Answer(body={"created": 1, "existing": 0, "failed": 1, "results": [{"index": 0}, {"index": 1}]})]
    answer = ask("create_tasks", [{"name": "order"}, {"name": "order", "context": {"n": 2}}], return_existing=True)

    assert (answer.created, answer.failed, len(answer.results)) == (1, 1, 2)
    assert server.asked[0].path == "/v1/tasks/bulk"
    assert server.asked[0].body["return_existing"] is True
    assert [task["context"] for task in server.asked[0].body["tasks"]] == [{}, {"n": 2}]
    assert {task["source_system"] for task in server.asked[0].body["tasks"]} == {"tasker-core"}


def test_a_task_has_an_attribute_for_each_key_and_ignores_others():
    task = TaskResponse.from_dict({"task_uuid": TASK, "status": "complete", "not_known_yet": 1})

    assert task.__dict__["status"] == "complete"
    assert task.is_resting
    assert not hasattr(task, "not_known_yet")
    with pytest.raises(AttributeError):
        task.status = "error"


def pages(total):
    def page(asked):
        number, size = int(asked.query["page"][0]), int(asked.query["per_page"][0])
        rows = range(total)[(number - 1) * size : number * size]
        pagination = {"total_count": total, "has_next": number * size < total}
        return Answer(body={"tasks": [{"name": str(row)} for row in rows], "pagination": pagination})

    return page


@pytest.mark.parametrize(
    ("total", "limit", "offset", "requests"),
    [
        (500, 50, 0, 1),
        (500, 250, 0, 3),
        (500, 30, 45, 2),
        (500, 300, 250, 3),
        (120, 300, 0, 2),
        (7, 5, 5, 1),
        (3, 9, 90, 1),
    ],
)
def test_a_list_is_exactly_the_range_that_is_wanted(ask, server, total, limit, offset, requests):
    server.script = [pages(total)]
    answer = ask("list_tasks", limit=limit, offset=offset, namespace="shop", status="complete", tag=["a", "b"])

    assert [int(task.name) for task in answer.tasks] == list(range(total)[offset : offset + limit])
    assert (answer.pagination.total_count, answer.pagination.has_next) == (total, offset + limit < total)
    assert len(server.asked) == requests
    assert all(int(asked.query["per_page"][0]) <= 100 for asked in server.asked)
    assert server.asked[0].query["tag"] == ["a", "b"]
    assert (server.asked[0].query["namespace"], server.asked[0].query["status"]) == (["shop"], ["complete"])


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"offset": -1}])
def test_a_list_of_nothing_is_refused(ask, server, wrong):
    with pytest.raises(InvalidRequestError):
        ask("list_tasks", **wrong)
    assert server.asked == []


def test_all_tasks_are_read_page_by_page(ask, server):
    def page(asked):
        cursor = asked.query.get("cursor", ["0"])[0]
        following = {"0": "1", "1": "2", "2": None}[cursor]
        return Answer(body={"tasks": [{"name": cursor}], "pagination": {"next_cursor": following}})

    server.script = [page]
    tasks = ask.every(
        "iterate_tasks", name="order", context={"total": 3}, created_after=datetime(2030, 1, 1, tzinfo=UTC)
    )

    assert [task.name for task in tasks] == ["0", "1", "2"]
    assert {asked.query["name"][0] for asked in server.asked} == {"order"}
    assert server.asked[0].query["context"] == ['{"total":3}']
    assert server.asked[0].query["created_after"] == ["2030-01-01T00:00:00+00:00"]


def test_waiting_asks_until_the_task_rests(ask, server):
    server.script = [Answer(body={"status": "pending"})] * 2 + [Answer(body={"status": "blocked_by_failures"})]

    assert ask("wait", TASK).status == "blocked_by_failures"
    assert [asked.query["wait"] for asked in server.asked] == [["20.0"]] * 3


def test_waiting_ends_when_the_time_is_up(ask, server):
    server.script = [Answer(body={"status": "steps_in_process"})]

    with pytest.raises(TimeoutError) as raised:
        ask("wait", TASK, timeout=0.05)
    assert isinstance(raised.value, WaitTimeoutError)
    assert raised.value.task.status == "steps_in_process"
    assert "steps_in_process after 0.05 s" in str(raised.value)


@pytest.mark.parametrize(
    ("call", "asked_for"),
    [
        (("get_task", UUID(TASK)), ("GET", f"/v1/tasks/{TASK}")),
        (("task_summary", TASK), ("GET", f"/v1/tasks/{TASK}/summary")),
        (("get_step_audit_history", TASK, STEP), ("GET", f"/v1/tasks/{TASK}/workflow_steps/{STEP}/audit")),
        (("get_template", "shop", "a/b", "1 0"), ("GET", "/v1/templates/shop/a%2Fb/1%200")),
        (("delete_template", "shop", "order", "1.0.0"), ("DELETE", "/v1/templates/shop/order/1.0.0")),
        (("dlq_queue",), ("GET", "/v1/dlq/investigation-queue")),
        (("me",), ("GET", "/v1/auth/me")),
    ],
    ids=lambda value: value[0],
)
def test_a_method_asks_its_route(ask, server, call, asked_for):
    server.script = [Answer(body=[] if call[0] in {"get_step_audit_history", "dlq_queue"} else {})]
    ask(*call)

    assert [(asked.method, asked.path) for asked in server.asked] == [asked_for]


def test_verbs_say_why(ask, server):
    assert ask("cancel_task", TASK, reason="wrong address") == {"cancelled": True}
    ask("rerun_task", TASK, "charge", reason="bank was down", dry_run=True)
    ask("pause_task", TASK)

    assert [(asked.path.rpartition("/")[2], asked.body) for asked in server.asked] == [
        ("cancel", {"reason": "wrong address"}),
        ("rerun", {"step": "charge", "reason": "bank was down", "dry_run": True}),
        ("pause", {}),
    ]


def test_steps_are_acted_on_in_the_name_of_the_client_unless_another_is_given(ask, server):
    ask("reset_step", TASK, STEP, reason="r")
    ask("resolve_step", TASK, STEP, reason="r", resolved_by="kim")
    ask("complete_step", TASK, STEP, {"n": 1}, reason="r")

    assert [asked.body for asked in server.asked] == [
        {"action_type": "reset_for_retry", "reset_by": "tasker-core-python", "reason": "r"},
        {"action_type": "resolve_manually", "resolved_by": "kim", "reason": "r"},
        {
            "action_type": "complete_manually",
            "completion_data": {"result": {"n": 1}},
            "completed_by": "tasker-core-python",
            "reason": "r",
        },
    ]


def test_a_template_may_be_text_a_path_or_a_mapping(ask, server, tmp_path):
    path = tmp_path / "order.yaml"
    path.write_text(TEMPLATE)
    for template in (TEMPLATE, path, str(path), {"name": "order"}):
        ask("register_template", template, force=True)

    sent = [asked.body["template"] for asked in server.asked]
    assert sent == [TEMPLATE, TEMPLATE, TEMPLATE, {"name": "order"}]
    assert all(asked.body["force"] is True for asked in server.asked)


def test_a_template_that_is_not_there_is_named(ask, server):
    with pytest.raises(FileNotFoundError, match=r"orders\.yaml"):
        ask("register_template", "orders.yaml")


def test_a_server_that_answers_is_healthy(ask, server):
    server.script = [Answer(body={"status": "healthy", "timestamp": "2030-01-31T08:00:00Z"})]
    health = ask("health_check")

    assert (health.healthy, health.status, health.timestamp) == (True, "healthy", "2030-01-31T08:00:00Z")


def test_both_clients_have_the_same_methods_with_the_same_signatures():
    def methods(client):
        return {name: method for name, method in inspect.getmembers(client, callable) if not name.startswith("_")}

    plain, awaited = methods(TaskerClient), methods(AsyncTaskerClient)
    assert plain.keys() == awaited.keys()
    for name in plain.keys() - {"iterate_tasks", "events", "namespace_events"}:
        assert inspect.signature(plain[name]) == inspect.signature(awaited[name]), name
        assert plain[name].__doc__ == awaited[name].__doc__
        assert inspect.iscoroutinefunction(awaited[name]), name
        assert not inspect.iscoroutinefunction(plain[name]), name


def test_the_signatures_are_those_that_are_documented():
    create = inspect.signature(TaskerClient.create_task)
    shown = {
        name: parameter.default
        for name, parameter in create.parameters.items()
        if parameter.kind != parameter.VAR_KEYWORD
    }

    assert shown == {
        "self": inspect.Parameter.empty,
        "name": inspect.Parameter.empty,
        "namespace": "default",
        "context": None,
        "version": "1.0.0",
        "reason": "Task requested",
    }
    assert create.return_annotation is TaskResponse
