"""The worker protocol's messages: what goes in comes out, and what cannot be stored does not get in."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core import identifiers, serialization, wire
from tasker_core.step_source import AncestorResult, LeasedStep, LeaseKey, StepReport, TaskFacts
from tasker_core.template import HandlerReference, StepTemplate

TASK = UUID("0192f0c1-2d3e-7a4b-8c5d-6e7f80000000")
STEP = str(identifiers.step_uuid(TASK, 4))
LEASE = LeaseKey(TASK, 4, 17)

#: Text that JSON and the database can hold.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
json_objects = st.dictionaries(text, json_values, max_size=4)


def leased(**fields: Any) -> LeasedStep:
    facts = TaskFacts(
        task_uuid=TASK,
        name="order",
        namespace="shop",
        version="1.2.0",
        named_task_uuid=UUID(int=7),
        context=fields.pop("context", '{"order": "A-1"}'),
        correlation_id=UUID(int=8),
        parent_correlation_id=UUID(int=9),
        priority=3,
        initiator="me",
        source_system=None,
        reason="why not",
        tags='["a"]',
    )
    definition = StepTemplate(name="part", handler=HandlerReference(callable="work", initialization={"n": 1})).to_dict()
    return LeasedStep(**{
        "task": facts, "key": LEASE, "attempt": 2, "name": "part_001", "definition": definition,
        "ancestors": [AncestorResult("before", str(identifiers.step_uuid(TASK, 0)), '{"total": 1.5}', '{"m": 1}')],
        "inputs": '{"cursor": {"batch_id": "001"}}', "checkpoint": '{"cursor": 5}', **fields,
    })  # fmt: skip


def sent(step: LeasedStep, *, lazy: bool = False) -> dict[str, Any]:
    """What a worker receives."""
    item: dict[str, Any] = json.loads(wire.encode(wire.lease_item(step, lease_seconds=30.0, lazy=lazy)))
    return item


def received(step: LeasedStep) -> LeasedStep:
    """What a worker in Python makes of it."""
    encoded = wire.encode(wire.lease_item(step, lease_seconds=30.0, lazy=False))
    return wire.leased_step(msgspec.json.decode(encoded, type=wire.LeaseItem))


def result(**fields: Any) -> bytes:
    return wire.encode({"step_uuid": STEP, "lease_id": 17, "success": True, **fields})


def test_a_lease_has_every_key_that_workers_of_other_languages_read() -> None:
    item = sent(leased())
    assert item.keys() == {
        "event_id", "task_uuid", "step_uuid", "correlation_id", "task_correlation_id", "parent_correlation_id",
        "trace_id", "span_id", "task_sequence_step", "lease_id", "attempt", "lease_seconds", "reruns",
        "omitted_results",
    }  # fmt: skip
    sequence = item["task_sequence_step"]
    assert sequence.keys() == {"task", "workflow_step", "dependency_results", "step_definition"}
    assert sequence["task"].keys() == {"task", "task_name", "task_version", "namespace_name"}
    assert sequence["task"]["task"].keys() == {
        "task_uuid", "named_task_uuid", "complete", "requested_at", "initiator", "source_system", "reason", "tags",
        "context", "identity_hash", "priority", "created_at", "updated_at", "correlation_id", "parent_correlation_id",
    }  # fmt: skip
    assert sequence["workflow_step"].keys() == {
        "workflow_step_uuid", "task_uuid", "named_step_uuid", "name", "template_step_name", "retryable", "max_attempts",
        "in_process", "processed", "processed_at", "attempts", "last_attempted_at", "backoff_request_seconds", "inputs",
        "results", "checkpoint", "created_at", "updated_at",
    }  # fmt: skip
    assert sequence["dependency_results"]["before"] == {
        "step_uuid": str(identifiers.step_uuid(TASK, 0)), "success": True, "result": {"total": 1.5},
        "status": "completed", "metadata": {"custom": {"m": 1}}, "error": None, "orchestration_metadata": None,
    }  # fmt: skip
    assert sequence["step_definition"].keys() >= {
        "name", "description", "handler", "type", "system_dependency", "dependencies", "retry", "timeout_seconds",
        "publishes_events", "batch_config",
    }  # fmt: skip


def test_a_lease_keeps_its_event_id_and_the_next_one_has_another() -> None:
    again = leased(key=LEASE._replace(lease_id=18))
    assert sent(leased())["event_id"] == sent(leased())["event_id"] != sent(again)["event_id"]


def test_a_step_arrives_as_it_was_sent() -> None:
    assert received(leased()) == leased()


def test_a_step_without_inputs_and_checkpoint_arrives_without() -> None:
    step = leased(inputs=None, checkpoint=None, ancestors=[])
    assert received(step) == step


@given(json_objects, json_values)
def test_contexts_and_results_arrive_whatever_they_hold(context: dict[str, Any], value: Any) -> None:
    ancestor = AncestorResult("before", STEP, serialization.dumps({"value": value}), None)
    step = received(leased(context=serialization.dumps(context), ancestors=[ancestor]))
    assert step.context() == context
    assert step.dependency_results()["before"]["result"] == {"value": value}


def test_large_results_are_left_out_for_those_who_take_them_lazily_and_only_for_them() -> None:
    large = AncestorResult("large", STEP, json.dumps({"rows": "x" * wire.LAZY_RESULT_BYTES}), None)
    small = AncestorResult("small", STEP, "{}", None)
    step = leased(ancestors=[large, small])
    lazy, eager = sent(step, lazy=True), sent(step)
    assert (lazy["omitted_results"], eager["omitted_results"]) == (["large"], [])
    assert lazy["task_sequence_step"]["dependency_results"]["large"] is None
    assert eager["task_sequence_step"]["dependency_results"]["large"]["result"] == json.loads(large.result or "")
    assert lazy["task_sequence_step"]["dependency_results"]["small"]["result"] == {}


def test_a_result_that_was_left_out_keeps_its_place_among_the_others() -> None:
    large = AncestorResult("large", STEP, json.dumps("x" * wire.LAZY_RESULT_BYTES), None)
    step = leased(
        ancestors=[AncestorResult("first", STEP, "{}", None), large, AncestorResult("last", STEP, "{}", None)]
    )
    item = wire.lease_item(step, lease_seconds=30.0, lazy=True)
    step = wire.leased_step(msgspec.json.decode(wire.encode(item), type=wire.LeaseItem), {"large": large})
    assert list(step.dependency_results()) == ["first", "large", "last"]


@given(json_objects, json_objects, st.integers(0, 10**9))
def test_a_success_is_recorded_as_the_worker_reported_it(
    value: dict[str, Any], metadata: dict[str, Any], milliseconds: int
) -> None:
    report = StepReport(LEASE, True, serialization.dumps(value), metadata, None, milliseconds)
    assert wire.step_report(wire.encode(wire.completion(report))) == report


@given(text.filter(bool), text.filter(bool), st.booleans(), json_objects)
def test_a_failure_is_recorded_as_the_worker_reported_it(
    kind: str, message: str, retryable: bool, metadata: dict[str, Any]
) -> None:
    error = {"error_type": kind, "message": message, "retryable": retryable, "error_code": "E42"}
    report = StepReport(LEASE, False, None, metadata, error, 5)
    assert wire.step_report(wire.encode(wire.completion(report))) == report


def test_a_result_with_nothing_but_success_is_enough() -> None:
    assert wire.step_report(result()) == StepReport(LEASE, True, "{}")


def test_null_is_as_good_as_absent() -> None:
    nothing = dict.fromkeys(("result", "metadata", "error", "orchestration_metadata", "checkpoint"))
    assert wire.step_report(result(**nothing)) == StepReport(LEASE, True, "{}")


def test_a_failure_without_an_explanation_may_be_tried_again() -> None:
    assert wire.step_report(result(success=False)).error == {
        "error_type": "handler_error",
        "message": "the worker gave no message",
        "retryable": True,
    }


def test_whether_to_retry_is_what_the_metadata_says() -> None:
    report = wire.step_report(
        result(success=False, error={"message": "m", "retryable": True}, metadata={"retryable": False})
    )
    assert report.retryable is False


@pytest.mark.parametrize(
    ("hints", "metadata"),
    [
        ({"headers": {"Retry-After": "7"}}, {"headers": {"Retry-After": "7"}}),
        ({"backoff_hint": {"backoff_type": "RateLimit", "delay_seconds": 9}}, {"retry_after_seconds": 9.0}),
    ],
)
def test_what_a_called_server_said_about_trying_again_is_kept(hints: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert wire.step_report(result(success=False, orchestration_metadata=hints)).metadata == metadata


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"checkpoint_yield": True}, "result": {"type": "checkpoint_yield", "items_processed": 3}},
        {
            "metadata": {"custom": {"checkpoint_yield": True}},
            "result": {"type": "checkpoint_yield", "items_processed": 3},
        },
        {"success": None, "checkpoint": {"items_processed": 3}},
        {"success": None, "checkpoint": {"items_processed": 3, "accumulated_results": None}},
    ],
)
def test_a_checkpoint_is_understood_in_each_of_its_spellings(fields: dict[str, Any]) -> None:
    report = wire.step_report(result(**fields))
    assert (report.success, report.metadata) == (True, {"checkpoint_yield": True})
    assert json.loads(report.result or "") == {"type": "checkpoint_yield", "items_processed": 3}


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b'"text"', "Expected `object`"),
        (b'{"success": true}', "step_uuid"),
        (result(step_uuid="no"), "UUID"),
        (result(lease_id=0), ">= 1"),
        (result(lease_id=2**63), "<= 9223372036854775807"),
        (result(lease_id="17"), "Expected `int`"),
        (result(success=None), "success"),
        (result(success="yes"), "success"),
        (result(metadata={"custom": []}), "custom"),
        (result(metadata={"execution_time_ms": "1"}), "execution_time_ms"),
        (result(error={"backtrace": "line"}, success=False), "backtrace"),
        (result(checkpoint=[1]), "checkpoint must be an object"),
        (result(result={"a": "\x00"}), "NUL"),
        (result(metadata={"custom": {"a": "\x00"}}), "NUL"),
        (result(checkpoint={"cursor": "\x00"}), "NUL"),
        (result()[:-1] + b',"result":"\\ud800"}', "truncated"),
        (result()[:-1] + b',"result":"\xff"}', "utf-8"),
        (result()[:-1] + b',"result":1e999}', "out of range"),
        (result()[:-1] + b',"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deeply"),
    ],
)
def test_a_malformed_result_is_not_taken_and_its_fault_is_named(raw: bytes, complaint: str) -> None:
    with pytest.raises(wire.MalformedResultError, match=complaint):
        wire.step_report(raw)


def test_texts_of_errors_are_made_storable() -> None:
    report = wire.step_report(result(success=False, error={"message": "a\x00b" + "x" * 20_000, "backtrace": ["\x00"]}))
    assert report.error is not None
    assert report.error["message"].startswith("a\\x00b")
    assert len(report.error["message"]) < 10_010
    assert report.error["backtrace"] == ["\\x00"]


def test_a_malformed_result_names_its_lease_as_far_as_it_can_be_read() -> None:
    assert wire.named_in(msgspec.Raw(result(success=7))) == {"step_uuid": UUID(STEP), "lease_id": 17}
    assert wire.named_in(msgspec.Raw(b"[]")) == {"step_uuid": None, "lease_id": None}
