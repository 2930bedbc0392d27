import pytest
import structlog

from tasker_core import logging
from tasker_core.types import LogContext


@pytest.mark.parametrize(
    ("log", "level"),
    [
        (logging.log_error, "error"),
        (logging.log_warn, "warning"),
        (logging.log_info, "info"),
        (logging.log_debug, "debug"),
        (logging.log_trace, "debug"),
    ],
)
def test_each_function_logs_at_its_level(log, level):
    with structlog.testing.capture_logs() as lines:
        log("hello")
    [line] = lines
    assert (line["event"], line["log_level"], line["operation"]) == ("hello", level, "python_handler")


def test_fields_become_strings_and_unset_context_is_left_out():
    with structlog.testing.capture_logs() as lines:
        logging.log_info("a", {"n": 1, "event": "clash", "operation": "mine"})
        logging.log_info("b", LogContext(task_uuid="t"))
    assert (lines[0]["n"], lines[0]["event"], lines[0]["operation"]) == ("1", "a", "mine")
    assert lines[1] == {
        "event": "b",
        "log_level": "info",
        "task_uuid": "t",
        "operation": "python_handler",
    }


class Unprintable:
    def __str__(self):
        raise RuntimeError("cannot be printed")


@pytest.mark.parametrize("fields", [{"x": Unprintable()}, 5, {"self": 1}])
def test_logging_never_raises(fields):
    logging.log_error("m", fields)
