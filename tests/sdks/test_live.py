"""Whole workflows on a real server, with the worker of each language."""

import signal
from collections.abc import Callable
from itertools import pairwise

import pytest
from tests.sdks.live_pack import (
    LANGUAGES,
    LEASE_SECONDS,
    Language,
    Worker,
    log_events,
    terminated,
    until,
    until_line,
)

# A server and workers have to start first, which takes long on a machine that has much else to do.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def namespace(language: Language, worker_of: Callable[[Language], Worker]) -> str:
    """A namespace that a worker of the language serves."""
    return worker_of(language).namespace


# What handlers are given, and what they return


def test_steps_in_a_row_see_the_input_their_configuration_and_all_results_before(pack, language, namespace):
    context = {"who": "Ж 😀", "numbers": [0, 0.1, 2**53 - 1, None], "nested": {"": {}}}
    results = pack.completed(pack.create("linear", namespace, **context))
    given = {"language": language.name, "input": context, "attempt": 1}
    config = {"colour": "blue", "nested": {"list": [1, None, "x"]}}
    assert results["echo"] == {**given, "dependencies": {}, "config": config}
    assert (results["one"], results["eleven"]) == ({"sum": 1}, {"sum": 11})
    before = {name: result for name, result in results.items() if name != "end"}
    assert results["end"] == {**given, "dependencies": before, "config": {}}


def test_a_result_too_large_for_a_lease_reaches_the_steps_after_it_whole(pack, namespace):
    lines = [f"{number} Ж 😀 {'x' * 5000}" for number in range(20)]
    results = pack.completed(pack.create("linear", namespace, lines=lines))
    assert results["echo"]["input"] == {"lines": lines}
    assert results["end"]["dependencies"]["echo"] == results["echo"]


def test_branches_of_a_diamond_join(pack, namespace):
    assert pack.completed(pack.create("diamond", namespace))["join"] == {"sum": 1112}


@pytest.mark.parametrize(
    ("route", "created"), [("both", {"left", "right", "join"}), ("left", {"left", "join"}), ("none", set())]
)
def test_a_decision_creates_the_steps_that_it_names(pack, namespace, route, created):
    results = pack.completed(pack.create("decision", namespace, route=route))
    assert results.keys() == {"start", "decide"} | created
    if created:
        assert results["join"]["dependencies"].keys() == results.keys() - {"join"}
    if route == "both":
        assert results["decide"]["routing_context"] == {"route": "both"}
    if route == "none":
        assert results["decide"]["reason"] == "nothing wanted"


def test_a_decision_that_cannot_be_made_fails_for_good(pack, namespace):
    task = pack.create("decision", namespace, route="up")
    assert pack.wait(task).status == "blocked_by_failures"
    step = pack.steps(task)["decide"]
    assert (step.current_state, step.attempts) == ("error", 1)
    error = step.results["error"]
    assert (error["error_type"], error["message"]) == ("decision_error", "unknown route: up")


def test_batches_with_checkpoints_process_each_item_once_and_in_order(pack, namespace):
    log = pack.file("items")
    task = pack.create("batch", namespace, total=25, batch_size=10, checkpoint_every=4, log_file=log)
    assert pack.completed(task)["aggregate"] == {"total": 25, "worker_count": 3, "sum": sum(range(25))}
    processed = [line.split() for line in log.read_text().splitlines()]
    assert sorted(int(item) for _, item in processed) == list(range(25))
    for batch in ("001", "002", "003"):
        assert all(int(a) < int(b) for a, b in pairwise(item for name, item in processed if name == batch))
    assert {step.attempts for step in pack.steps(task).values()} == {1}


def test_nothing_to_divide_is_no_batches(pack, namespace):
    task = pack.create("batch", namespace, total=0, batch_size=10, log_file=pack.file("items"))
    assert pack.completed(task)["aggregate"] == {"skipped": True, "total": 0}


def test_a_method_that_the_template_names_is_called_instead_of_call(pack, namespace):
    results = pack.completed(pack.create("methods", namespace))
    assert results == {"call": {"method": "call"}, "refund": {"method": "refund"}}


def test_a_method_that_the_handler_lacks_fails_for_good(pack, namespace):
    task = pack.create("unknown_method", namespace)
    assert pack.wait(task).status == "blocked_by_failures"
    step = pack.steps(task)["step"]
    assert (step.attempts, step.results["error"]["error_type"]) == (1, "handler_not_found")


def test_a_function_gets_what_it_declares(pack, namespace):
    results = pack.completed(pack.create("function", namespace, order_id="O-1"))
    assert results["function"] == {"order_id": "O-1", "total": {"sum": 5}}


# Failures


def test_a_retryable_failure_thrown_or_returned_is_tried_again(pack, namespace):
    task = pack.create("retry", namespace, failures=2)
    assert pack.completed(task)["step"] == {"attempts": 3}
    *failures, success = pack.audit(task, "step")
    assert success.success
    assert [attempt.to_state for attempt in failures] == ["waiting_for_retry"] * 2
    assert {(attempt.result["error_type"], attempt.result["message"]) for attempt in failures} == {
        ("retryable_error", "not yet")
    }


def test_a_permanent_failure_is_not_tried_again(pack, namespace):
    task = pack.create("permanent", namespace)
    assert pack.wait(task).status == "blocked_by_failures"
    step = pack.steps(task)["step"]
    error = step.results["error"]
    assert (step.current_state, step.attempts, error["message"]) == ("error", 1, "card declined")
    assert (error["error_type"], error["retryable"]) == ("permanent_error", False)


def test_a_handler_that_takes_too_long_is_given_up_and_tried_again(pack, namespace):
    task = pack.create("slow", namespace, seconds=60)
    assert pack.completed(task)["step"] == {"attempts": 2}
    error = pack.audit(task, "step")[0].result
    assert error["error_type"] == "handler_timeout"
    assert "1000 ms" in error["message"]


# Leases


def test_cancelling_a_task_reaches_the_code_that_runs(pack, namespace):
    signals = pack.file("signals")
    task = pack.create("wait", namespace, signal_file=signals)
    until_line(signals, "started")
    pack.client.cancel_task(task)
    until_line(signals, "cancelled")
    assert pack.wait(task).status == "cancelled"


def test_a_handler_that_blocks_everything_keeps_its_lease(pack, namespace):
    task = pack.create("block", namespace, block_seconds=LEASE_SECONDS * 1.75)
    assert pack.completed(task)["step"] == {"blocked": True}
    assert [attempt.success for attempt in pack.audit(task, "step")] == [True]


def test_a_batch_whose_worker_is_killed_goes_on_at_its_checkpoint(pack, language):
    namespace = f"killed_{language.name}"
    log, flag = pack.file("items"), pack.file("killed")
    doomed = pack.start_worker(language, namespace, slots=1)
    items = {"total": 30, "batch_size": 10, "checkpoint_every": 4, "log_file": log}
    task = pack.create("batch", namespace, **items, kill_at=15, kill_flag=flag)
    assert doomed.ended() == -signal.SIGKILL
    pack.start_worker(language, namespace, slots=1)
    assert pack.completed(task)["aggregate"] == {"total": 30, "worker_count": 3, "sum": sum(range(30))}
    processed = [int(line.split()[1]) for line in log.read_text().splitlines()]
    # The second batch starts at 10, and its checkpoint is at 14: what came after it is done again.
    assert sorted(processed) == sorted([*range(30), 14])
    assert pack.steps(task)["process_batch_002"].attempts == 2


def test_a_result_of_a_lost_lease_is_refused_and_the_worker_goes_on(pack, language):
    namespace = f"stopped_{language.name}"
    signals, release = pack.file("signals"), pack.file("release")
    # With one slot it has no call under way that asks for more, so that nothing is granted to it while it sleeps.
    sleeper = pack.start_worker(language, namespace, slots=1)
    task = pack.create("hold", namespace, signal_file=signals, release_file=release)
    until_line(signals, f"started {sleeper.pid}")
    sleeper.send(signal.SIGSTOP)
    try:
        other = pack.start_worker(language, namespace)
        until_line(signals, f"started {other.pid}")
        release.touch()
        assert pack.completed(task)["step"] == {"pid": other.pid}
        assert terminated(other) == 0
    finally:
        sleeper.send(signal.SIGCONT)
    assert pack.completed(pack.create("language", namespace))["step"]["language"] == language.name
    sleeper.check()
    assert pack.steps(task)["step"].results["result"] == {"pid": other.pid}
    assert [attempt.success for attempt in pack.audit(task, "step")] == [False, True]


# Servers and workers come and go


def test_a_result_made_while_the_server_is_away_arrives(closed_pack, language):
    pack, namespace = closed_pack, f"away_{language.name}"
    signals, release = pack.file("signals"), pack.file("release")
    worker = pack.start_worker(language, namespace)
    task = pack.create("hold", namespace, signal_file=signals, release_file=release)
    until_line(signals, "started")
    pack.server.kill()
    release.touch()
    pack.server.start()
    assert pack.completed(task)["step"] == {"pid": worker.pid}
    assert [attempt.success for attempt in pack.audit(task, "step")] == [True]
    assert terminated(worker) == 0


def test_a_worker_that_is_told_to_stop_finishes_what_it_began_and_leaves(pack, language):
    namespace = f"drained_{language.name}"
    signals, release = pack.file("signals"), pack.file("release")
    worker = pack.start_worker(language, namespace)
    task = pack.create("hold", namespace, signal_file=signals, release_file=release)
    until_line(signals, "started")
    worker.send(signal.SIGTERM)
    until(lambda: worker.get("/health/ready").status_code == 503, "it says that it is stopping")
    later = pack.create("language", namespace)
    release.touch()
    assert worker.ended() == 0, worker.output()
    assert pack.completed(task)["step"] == {"pid": worker.pid}
    assert not pack.knows(worker)
    assert pack.steps(later)["step"].attempts == 0
    if language.name != "python":  # whose worker is a command that writes for people
        events = log_events(worker)
        assert all(event.keys() >= {"timestamp", "level", "event", "logger"} for event in events)
        assert {event["event"] for event in events} >= {"worker_registered", "worker_started", "worker_stopped"}


def test_a_worker_whose_credentials_are_refused_ends(closed_pack, language):
    worker = closed_pack.launch_worker(language, f"closed_{language.name}", api_key="wrong")
    assert worker.ended() == 4, worker.output()


def test_health_checks_and_metrics_are_answered(pack, language, worker_of):
    worker = worker_of(language)
    for path in ("/health", "/health/live", "/health/ready"):
        assert worker.get(path).status_code == 200
    assert "tasker_worker_" in worker.get("/metrics").text


# Python's worker is a command that has metrics of its own.
@pytest.mark.parametrize("language", sorted(LANGUAGES.keys() - {"python"}), indirect=True, scope="module")
def test_a_worker_counts_what_it_did(pack, language, namespace, worker_of):
    worker = worker_of(language)

    def counted() -> tuple[int, int]:
        body = worker.get("/health/detailed").json()
        return body["processed"], body["failed"]

    def metric() -> float:
        name = 'tasker_worker_steps_total{outcome="succeeded"}'
        lines = worker.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))

    processed, failed = counted()
    succeeded = metric()
    pack.completed(pack.create("language", namespace))
    assert pack.wait(pack.create("permanent", namespace)).status == "blocked_by_failures"
    until(lambda: counted() == (processed + 2, failed + 1), "both are counted")
    assert metric() == succeeded + 1
