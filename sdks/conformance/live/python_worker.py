"""Python's worker of the live pack: the handlers that every language has, and the command that runs them.

It is started with settings in the environment, as the workers of the other languages are; see `main`.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.batch_processing import Batchable
from tasker_core.errors import PermanentError, RetryableError
from tasker_core.step_handler import depends_on, inputs, step_handler
from tasker_core.step_handler.mixins import DecisionMixin

LANGUAGE = "python"
TEMPLATES = Path(__file__).parent / "templates"
LOOK_SECONDS = 0.02


def append(path: str, line: str) -> None:
    """Append a line to a file that others may append to, too."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@step_handler("live_echo")
def echo(context: StepContext) -> dict[str, Any]:
    """Tell what the step was given."""
    return {
        "language": LANGUAGE,
        "input": context.input_data,
        "dependencies": {name: context.get_dependency_result(name) for name in context.get_dependency_result_keys()},
        "attempt": context.retry_count + 1,
        "config": context.step_config,
    }


@step_handler("live_add")
def add(context: StepContext) -> dict[str, Any]:
    """Add a number to the sums of other steps."""
    others = context.get_config("from") or []
    return {"sum": context.get_config("add") + sum(context.get_dependency_field(name, "sum") for name in others)}


class Decide(DecisionMixin, StepHandler):
    """Go left, right, both ways or none."""

    handler_name = "live_decide"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Decide by the input ``route``."""
        match context.get_input("route"):
            case "both":
                return self.decision_success(["left", "right"], routing_context={"route": "both"})
            case "left":
                return self.decision_success(["left"])
            case "none":
                return self.skip_branches("nothing wanted")
            case route:
                return self.decision_failure(f"unknown route: {route}")


class Analyze(Batchable, StepHandler):
    """Divide items into batches."""

    handler_name = "live_analyze"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Divide the input ``total`` by ``batch_size``."""
        outcome = self.create_batch_outcome(context.get_input("total"), context.get_input("batch_size"))
        return self.batch_analyzer_success(outcome, worker_template_name="process_batch")


class Batch(Batchable, StepHandler):
    """Work through the items of a batch, with checkpoints."""

    handler_name = "live_batch"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Note each item and add it up; end the process at the item ``kill_at``, once."""
        batch = self.get_batch_context(context)
        if batch is None:
            raise PermanentError("the step has no batch")
        begin = batch.checkpoint_cursor if batch.has_checkpoint() else batch.start_cursor
        total = (batch.accumulated_results or {}).get("sum", 0)
        every = context.get_input("checkpoint_every")
        for item in range(begin, batch.end_cursor):
            die_once(context, item)
            append(context.get_input("log_file"), f"{batch.batch_id} {item}")
            total += item
            done = item + 1 - batch.start_cursor
            if every and done % every == 0 and item + 1 < batch.end_cursor:
                return self.checkpoint_yield(item + 1, done, {"sum": total})
        size = batch.end_cursor - batch.start_cursor
        return self.batch_worker_success(items_processed=size, items_succeeded=size, results=[{"sum": total}])


def die_once(context: StepContext, item: int) -> None:
    """End this process as a crash would, if it is to be at this item and did not happen yet."""
    flag = context.get_input("kill_flag")
    if item == context.get_input("kill_at") and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Aggregate(Batchable, StepHandler):
    """Add up what the batches did."""

    handler_name = "live_aggregate"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Add up counts and sums."""
        scenario = self.detect_aggregation_scenario(context.dependency_results, "analyze", "process_batch_")
        if scenario.is_no_batches:
            return self.success({"skipped": True, "total": 0})
        results = scenario.batch_results.values()
        return self.success(
            {
                "total": sum(result["items_processed"] for result in results),
                "worker_count": scenario.worker_count,
                "sum": sum(result["results"][0]["sum"] for result in results),
            }
        )


class Retry(StepHandler):
    """Fail a number of times, in turn with an exception and with a result."""

    handler_name = "live_retry"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Fail the input ``failures`` times."""
        if context.retry_count >= context.get_input("failures"):
            return self.success({"attempts": context.retry_count + 1})
        if context.retry_count % 2 == 0:
            raise RetryableError("not yet")
        return self.failure("not yet", "retryable_error", retryable=True)


@step_handler("live_permanent")
def permanent() -> None:
    """Fail for good."""
    raise PermanentError("card declined")


@step_handler("live_wait")
def wait_for_cancellation(context: StepContext) -> None:
    """Run until cancelled."""
    append(context.get_input("signal_file"), "started")
    while not context.is_cancelled():
        time.sleep(LOOK_SECONDS)
    append(context.get_input("signal_file"), "cancelled")


@step_handler("live_block")
def block(context: StepContext) -> dict[str, Any]:
    """Do nothing else for a while, not even listen."""
    if context.get_input("signal_file"):
        append(context.get_input("signal_file"), f"started {os.getpid()}")
    time.sleep(context.get_input("block_seconds"))
    return {"blocked": True}


@step_handler("live_hold")
def hold(context: StepContext) -> dict[str, Any]:
    """Run until a file is there."""
    append(context.get_input("signal_file"), f"started {os.getpid()}")
    while not Path(context.get_input("release_file")).exists():
        time.sleep(LOOK_SECONDS)
    return {"pid": os.getpid()}


@step_handler("live_slow")
def slow(context: StepContext) -> dict[str, Any]:
    """Take long, but only the first time."""
    if context.is_retry():
        return {"attempts": context.retry_count + 1}
    end = time.monotonic() + context.get_input("seconds")
    while time.monotonic() < end and not context.is_cancelled():
        time.sleep(LOOK_SECONDS)
    return {"slow": True}


@step_handler("live_noop")
def noop() -> dict[str, Any]:
    """Do nothing."""
    return {}


class Methods(StepHandler):
    """Has two methods."""

    handler_name = "live_methods"

    def call(self, context: StepContext) -> StepHandlerResult:  # noqa: ARG002 - every handler takes it
        """Tell that this was called."""
        return self.success({"method": "call"})

    def refund(self, context: StepContext) -> StepHandlerResult:  # noqa: ARG002 - every handler takes it
        """Tell that this was called."""
        return self.success({"method": "refund"})


@step_handler("live_function")
@depends_on(total="first")
@inputs("order_id")
def function(total: Any, order_id: Any) -> dict[str, Any]:
    """Tell what was injected."""
    return {"order_id": order_id, "total": total}


@step_handler("live_language")
def language(context: StepContext) -> dict[str, Any]:
    """Add this language to the trail of those before."""
    before = context.get_dependency_field(context.get_config("after") or "", "trail") or []
    return {"language": LANGUAGE, "trail": [*before, LANGUAGE]}


@step_handler("live_python")
def python(context: StepContext) -> dict[str, Any]:
    """The same under a name that no other language has."""
    return language(context)


def main() -> None:
    """Become ``tasker worker`` with these handlers; it finds its server, name and namespaces itself."""
    # With a template that names a method that there is not, it would leave all steps of that handler to others.
    templates = [str(file) for file in TEMPLATES.glob("*.yaml") if file.stem != "unknown_method"]
    arguments = ["worker", *templates, "--handlers", __file__, "--allow-missing"]
    for option, name in {
        "--concurrency": "TASKER_MAX_CONCURRENT",
        "--shutdown-timeout": "TASKER_SHUTDOWN_TIMEOUT",
        "--health-bind": "TASKER_WORKER_HEALTH_BIND",
    }.items():
        if name in os.environ:
            arguments += [option, os.environ[name]]
    os.execv(sys.executable, [sys.executable, "-m", "tasker_core", *arguments])  # noqa: S606 - there is no shell


if __name__ == "__main__":
    main()
