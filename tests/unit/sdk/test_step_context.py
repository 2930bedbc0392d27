from uuid import UUID, uuid4

import pydantic
import pytest

from tasker_core.types import FfiStepEvent, StepContext


@pytest.fixture
def make_fast(make_event):
    """Contexts built the way the worker builds them; keeps count of the events made."""

    def make(payload=None, **overrides):
        made = []

        def make_event_once() -> FfiStepEvent:
            made.append(make_event(payload or {}))
            return made[-1]

        results = overrides.pop("dependency_results", {})
        values = {
            "handler_name": "h",
            "task_uuid": uuid4(),
            "step_uuid": uuid4(),
            "correlation_id": uuid4(),
            "input_data": {},
            "dependency_results": lambda: dict(results),
            "dependency_result": results.get,
            "step_config": {},
            "step_inputs": {},
            "retry_count": 0,
            "max_retries": 3,
            "checkpoint": None,
            "make_event": make_event_once,
        } | overrides
        return StepContext.for_execution(**values), made

    return make


def test_a_worker_reads_only_the_results_that_a_handler_asks_for(make_fast):
    def all_results():
        raise AssertionError("nobody asked for all of them")

    asked = []

    def one_result(name):
        asked.append(name)
        return {"result": {"n": 1}} if name == "a" else None

    context, _ = make_fast()
    context._read_results, context._read_result = all_results, one_result
    assert context.get_dependency_result("a") == {"n": 1}
    assert context.get_dependency_result("a") is context.get_dependency_result("a")
    assert context.get_dependency_field("a", "n") == 1
    assert context.get_dependency_result("b") is None
    assert asked == ["a", "b"]


def test_a_result_that_was_read_alone_is_the_same_object_among_all(make_fast):
    context, _ = make_fast(dependency_results={"a": {"result": {"n": 1}}, "b": {"result": {"n": 2}}})
    alone = context.get_dependency_result("a")
    assert context.dependency_results["a"]["result"] is alone
    assert context.model_dump()["dependency_results"] == {"a": {"result": {"n": 1}}, "b": {"result": {"n": 2}}}


def test_every_field_comes_from_its_part_of_the_payload(make_event):
    event = make_event(
        {
            "task": {"task": {"context": {"a": 1}}},
            "dependency_results": {"s": {"result": {"b": 2}}},
            "step_definition": {"handler": {"callable": "x", "initialization": {"c": 3}}},
            "workflow_step": {"attempts": 2, "max_attempts": 5, "inputs": {"d": 4}},
        }
    )
    context = StepContext.from_ffi_event(event, "handler")
    assert context.input_data == {"a": 1}
    assert context.get_dependency_result("s") == {"b": 2}
    assert context.step_config == {"c": 3}
    assert context.step_inputs == {"d": 4}
    assert (context.retry_count, context.max_retries) == (2, 5)
    assert context.handler_name == "handler"
    assert context.task_uuid == UUID(event.task_uuid)
    assert context.event is event


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"task": None, "dependency_results": None, "step_definition": None, "workflow_step": None},
        {
            "task": {"task": {"context": None}},
            "step_definition": {"handler": {"initialization": None}},
            "workflow_step": {"attempts": None, "max_attempts": 0, "inputs": None},
        },
    ],
)
def test_absent_and_null_parts_count_as_empty(make_event, payload):
    context = StepContext.from_ffi_event(make_event(payload), "h")
    assert context.input_data == context.dependency_results == context.step_config == {}
    assert context.step_inputs == {}
    assert (context.retry_count, context.max_retries) == (0, 3)
    assert context.get_input("anything") is None


def test_the_task_may_be_flat(make_event):
    context = StepContext.from_ffi_event(make_event({"task": {"context": {"a": 1}}}), "h")
    assert context.input_data == {"a": 1}


def test_input_data_is_the_tasks_context_and_never_the_steps_inputs(make_context):
    context = make_context({"a": 1}, inputs={"cursor": {}})
    assert context.input_data == {"a": 1}
    assert context.step_inputs == {"cursor": {}}


def test_a_malformed_uuid_is_a_value_error():
    event = FfiStepEvent(event_id="e", task_uuid="no", step_uuid="no", correlation_id="no", task_sequence_step={})
    with pytest.raises(ValueError, match="badly formed"):
        StepContext.from_ffi_event(event, "h")


def test_a_part_of_the_wrong_type_is_rejected(make_event):
    with pytest.raises(pydantic.ValidationError):
        StepContext.from_ffi_event(make_event({"task": {"context": ["not", "an", "object"]}}), "h")


def test_an_event_cannot_be_changed(make_event):
    with pytest.raises(pydantic.ValidationError):
        make_event({}).event_id = "other"


def test_get_input_or_gives_the_default_for_absent_and_null_only(make_context):
    context = make_context({"zero": 0, "flag": False, "empty": "", "nil": None})
    assert context.get_input_or("zero", 9) == 0
    assert context.get_input_or("flag", True) is False
    assert context.get_input_or("empty", "d") == ""
    assert context.get_input_or("nil", 9) == 9
    assert context.get_input_or("missing", 7) == 7
    assert context.get_task_field("zero") == 0


def test_dependency_results_come_out_of_their_envelope_once(make_event):
    results = {
        "object": {"result": {"result": 1}},
        "scalar": {"result": 42},
        "null": {"result": None},
        "bare": {"x": 1},
        "text": "t",
    }
    context = StepContext.from_ffi_event(make_event({"dependency_results": results}), "h")
    assert context.get_dependency_result("object") == {"result": 1}
    assert context.get_dependency_result("scalar") == 42
    assert context.get_dependency_result("null") is None
    assert context.get_dependency_result("bare") == {"x": 1}
    assert context.get_dependency_result("text") == "t"
    assert context.get_dependency_result("absent") is None
    assert context.get_dependency_result_keys() == list(results)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nested", "deep", "n"), 3),
        ((), {"total": 1, "nested": {"deep": {"n": 3}}}),
        (("nope",), None),
        (("nope", "deeper"), None),
        (("total", "into_a_scalar"), None),
    ],
)
def test_a_missing_hop_of_a_dependency_field_is_none(make_context, path, value):
    context = make_context(results={"validate": {"total": 1, "nested": {"deep": {"n": 3}}}})
    assert context.get_dependency_field("validate", *path) == value
    assert context.get_dependency_field("absent", "a", "b") is None


def test_results_by_prefix_keep_their_order_and_leave_out_null(make_context):
    context = make_context(results={"b_2": 2, "b_1": 1, "other": 0, "b_3": None, "b_4": 0})
    assert context.get_all_dependency_results("b_") == [2, 1, 0]


@pytest.mark.parametrize(
    ("attempts", "max_attempts", "is_retry", "is_last"),
    [(0, 3, False, False), (1, 3, True, False), (2, 3, True, True), (3, 3, True, True), (0, 1, False, True)],
)
def test_retry_boundaries(make_context, attempts, max_attempts, is_retry, is_last):
    context = make_context(attempts=attempts, max_attempts=max_attempts)
    assert (context.is_retry(), context.is_last_retry()) == (is_retry, is_last)


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        (
            {"cursor": 500, "items_processed": 500, "accumulated_results": {"t": 1}},
            (500, 500, {"t": 1}, True),
        ),
        ({"cursor": 0}, (0, 0, None, True)),
        ({"cursor": {"page": 2}}, ({"page": 2}, 0, None, True)),
        ({"cursor": None}, (None, 0, None, False)),
        (None, (None, 0, None, False)),
    ],
)
def test_the_checkpoint_reads_alike_however_the_context_was_built(make_context, make_fast, checkpoint, expected):
    for context in (make_context(checkpoint=checkpoint), make_fast(checkpoint=checkpoint)[0]):
        assert (
            context.checkpoint_cursor,
            context.checkpoint_items_processed,
            context.accumulated_results,
            context.has_checkpoint(),
        ) == expected


def test_the_payload_can_be_read_through_wrappers(make_context):
    wrapper = make_context({"a": 1}, results={"s": 2}).task_sequence_step
    assert wrapper.get_task_field("a") == 1
    assert wrapper.get_results("s") == 2


def test_a_context_without_a_worker_is_never_cancelled(make_context):
    assert make_context().is_cancelled() is False


def test_cancellation_is_asked_of_the_worker_every_time(make_fast, make_event):
    answers = iter([False, True])
    context, _ = make_fast(is_cancelled=lambda: next(answers))
    assert [context.is_cancelled(), context.is_cancelled()] == [False, True]
    slow = StepContext.from_ffi_event(make_event({}), "h", is_cancelled=lambda: True)
    assert slow.is_cancelled()


def test_the_fast_constructor_makes_its_event_once_and_only_if_read(make_fast):
    context, made = make_fast(input_data={"a": 1})
    assert context.get_input("a") == 1
    assert made == []
    assert context.event is context.event
    assert len(made) == 1


def test_a_fast_context_dumps_and_copies_like_any_other(make_fast):
    context, _ = make_fast(input_data={"a": 1})
    assert set(context.model_dump()) == set(StepContext.model_fields)
    assert context.model_copy().event == context.event
    with pytest.raises(AttributeError):
        _ = context.no_such_attribute


def test_the_keyword_constructor_validates(make_event):
    event = make_event({})
    with pytest.raises(pydantic.ValidationError):
        StepContext(event=event, task_uuid="x", step_uuid="y", correlation_id="z", handler_name="h")
