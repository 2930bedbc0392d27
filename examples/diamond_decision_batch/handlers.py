"""Decision, analyzer, worker and aggregator as decorated functions; both paths share them."""

from tasker_core.batch_processing import BatchAggregationScenario
from tasker_core.step_handler import (
    BatchConfig,
    Decision,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)


@step_handler("start")
@inputs("numbers")
def start(numbers):
    return {"numbers": numbers}


@step_handler("count")
@depends_on(start="start")
def count(start, context):
    """The numbers that leave the step's remainder when divided by two."""
    numbers = [number for number in start["numbers"] if number % 2 == context.get_config("remainder")]
    return {"numbers": numbers, "count": len(numbers)}


@decision_handler("choose_path")
@depends_on(evens="count_evens", odds="count_odds")
def choose_path(evens, odds):
    """The path of the larger group; a tie goes to the even one."""
    path = "odds" if odds["count"] > evens["count"] else "evens"
    return Decision.route([f"divide_{path}"], path=path, evens=evens["count"], odds=odds["count"])


@batch_analyzer("divide")
def divide(context):
    """One batch for each two numbers. The template names the step to make workers from."""
    group = context.get_dependency_result(context.get_config("counted_by"))
    return BatchConfig(total_items=group["count"], batch_size=context.get_config("batch_size"))


@batch_worker("add")
def add(batch_context, context):
    group = context.get_dependency_result(context.get_config("counted_by"))
    numbers = group["numbers"][batch_context.start_cursor : batch_context.end_cursor]
    return {"numbers": numbers, "sum": sum(numbers)}


@step_handler("aggregate")
@depends_on(chosen="choose_path")
def aggregate(chosen, context):
    """Add up the batches of the path that was taken; there are none if there was nothing to count."""
    path = chosen["routing_context"]["path"]
    scenario = BatchAggregationScenario.detect(context.dependency_results, f"divide_{path}", f"add_{path}_")
    return {
        "path": path,
        "sum": sum(result["sum"] for result in scenario.batch_results.values()),
        "worker_count": scenario.worker_count,
    }
