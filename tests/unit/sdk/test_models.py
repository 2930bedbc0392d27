import pytest

from tasker_core import models


@pytest.mark.parametrize(
    "wrapper",
    [
        models.HandlerWrapper,
        models.StepDefinitionWrapper,
        models.WorkflowStepWrapper,
        models.TaskWrapper,
        models.DependencyResultsWrapper,
        models.TaskSequenceStepWrapper,
    ],
)
def test_nothing_at_all_reads_as_defaults(wrapper):
    assert wrapper.from_dict(None) == wrapper.from_dict({})


def test_defaults_are_the_engines():
    step = models.WorkflowStepWrapper.from_dict({"attempts": None, "inputs": None})
    assert (step.name, step.attempts, step.max_attempts, step.retryable, step.inputs) == ("", 0, 3, True, {})
    definition = models.StepDefinitionWrapper.from_dict({"timeout_seconds": None})
    assert (definition.timeout_seconds, definition.handler.callable) == (30, "")


def test_the_handlers_method_has_its_own_name():
    wrapper = models.HandlerWrapper.from_dict({"callable": "c", "method": "m"})
    assert (wrapper.callable, wrapper.handler_method, wrapper.resolver) == ("c", "m", None)


def test_a_task_reads_nested_or_flat_and_outer_names_win():
    nested = models.TaskWrapper.from_dict(
        {"task": {"task_uuid": "u", "context": {"a": 1}, "task_name": "inner"}, "task_name": "outer"}
    )
    assert (nested.task_uuid, nested.context, nested.task_name) == ("u", {"a": 1}, "outer")
    flat = models.TaskWrapper.from_dict({"task_uuid": "u", "task_name": "flat", "correlation_id": "c"})
    assert (flat.task_uuid, flat.task_name, flat.correlation_id) == ("u", "flat", "c")
    assert flat.namespace_name == ""


def test_dependency_results_give_the_entry_or_what_is_in_it():
    results = models.DependencyResultsWrapper.from_dict({"a": {"result": 1}, "b": 2})
    assert (results.get_result("a"), results["a"], results.get_results("a")) == (
        {"result": 1},
        {"result": 1},
        1,
    )
    assert (results["missing"], results.get_results("missing"), results.get_results("b")) == (None, None, 2)
    assert list(results) == list(results.keys()) == ["a", "b"]
    assert "a" in results
    assert "c" not in results
