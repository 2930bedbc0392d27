"""What operators do: verbs change what other commands then show, say what they did, and refuse with a reason."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tasker_core.identifiers import step_uuid
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.template import load_file

TEMPLATE = """
name: order
namespace_name: shop
version: 1.0.0
steps:
  - {name: load_order, handler: {callable: load_order}}
  - name: charge_card
    handler: {callable: charge_card}
    dependencies: [load_order]
    retry: {max_attempts: 2, backoff: none}
  - {name: ship, handler: {callable: ship}, dependencies: [charge_card]}
"""

#: The bank is down while there is a file of that name.
HANDLERS = """
from pathlib import Path

from tasker_core.errors import RetryableError
from tasker_core.step_handler.functional import step_handler

@step_handler("load_order")
def load_order(context):
    return {"cents": 4990}

@step_handler("charge_card")
def charge_card(context):
    if Path("bank_is_down").exists():
        raise RetryableError("the bank is [down]")
    return {"charged": 4990}

@step_handler("ship")
def ship(context):
    return {"paid": context.get_dependency_result("charge_card")}
"""

NO_TASK = "01a20bd2-12f6-7c21-8159-f3ff32000000"
WHY_NOT = ("--reason", "a test")


class Shop:
    """A project with one template, and the commands that run in it."""

    def __init__(self, tasker: Callable[..., subprocess.CompletedProcess[str]], directory: Path, url: str) -> None:
        self._tasker = tasker
        self._url = url
        self.bank_is_down = directory / "bank_is_down"
        self.template = directory / "order.yaml"
        self.template.write_text(TEMPLATE)
        (directory / "handlers.py").write_text(HANDLERS)

    def __call__(self, *arguments: str, exits: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        done = self._tasker(*arguments, DATABASE_URL=self._url, **options)
        assert done.returncode == exits, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def refusal(self, *arguments: str, code: int = 1) -> str:
        done = self(*arguments, exits=code)
        assert done.stdout == ""
        return done.stderr

    def json(self, *arguments: str, exits: int = 0, **options: Any) -> Any:
        return json.loads(self(*arguments, "--json", exits=exits, **options).stdout)

    def failed(self) -> str:
        """A task whose card could not be charged in any attempt; the bank is back when it returns."""
        self.bank_is_down.touch()
        task = self.json("run", "order.yaml", exits=6)["task_uuid"]
        self.bank_is_down.unlink()
        return str(task)

    def completed(self) -> str:
        return str(self.json("run", "order.yaml")["task_uuid"])

    def resumed(self, task: str) -> dict[str, Any]:
        """What each step has resulted in once the task is complete."""
        outcome = self.json("run", "order.yaml", "--resume", task)
        assert outcome["status"] == "complete"
        return {step["name"]: step["result"] for step in outcome["steps"]}

    def state(self, task: str) -> str:
        return str(self.json("task", "get", task)["state"])

    def steps(self, task: str) -> list[dict[str, Any]]:
        return list(self.json("task", "steps", task)["steps"])

    def states(self, task: str) -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.steps(task)}

    def everything(self, task: str) -> list[Any]:
        """All that a command which changes something could change."""
        return [self.json(*command) for command in (
            ("task", "get", task), ("task", "steps", task), ("task", "history", task), ("dlq", "list")
        )]  # fmt: skip

    def noted(self, task: str) -> list[tuple[str, str, str]]:
        """What people did, by verb, actor and reason."""
        history = self.json("task", "history", task)["history"]
        return sorted({(change["verb"], change["actor"], change["reason"]) for change in history if change["verb"]})


@pytest.fixture
def shop(tasker, tmp_path: Path, database_url: str) -> Shop:
    return Shop(tasker, tmp_path, database_url)


@pytest.fixture
async def waiting(shop: Shop, engine: Engine) -> str:
    """A task that no worker has touched."""
    return str(await engine.create_task(load_file(shop.template), TaskRequest(context={}, initiator="a test")))


# Single steps


def test_a_reset_step_runs_again_with_all_its_attempts_and_the_task_completes(shop):
    task = shop.failed()
    assert shop.steps(task)[1]["attempts"] == 2
    change = shop.json("step", "reset", task, "charge_card", "-r", "the bank is back", "--actor", "dora")
    assert change == {
        "task_uuid": task,
        "verb": "reset",
        "changed": True,
        "dry_run": False,
        "from_state": "blocked_by_failures",
        "to_state": change["to_state"],
        "actor": "dora",
        "reason": "the bank is back",
        "steps": [{"step": "charge_card", "from_state": "error", "to_state": "enqueued"}],
        "removed": [],
    }
    assert change["to_state"] == shop.state(task)
    assert (shop.steps(task)[1]["state"], shop.steps(task)[1]["attempts"]) == ("enqueued", 0)
    assert shop.resumed(task)["ship"] == {"paid": {"charged": 4990}}
    assert shop.noted(task) == [("reset", "dora", "the bank is back")]
    told = shop("task", "history", task).stdout
    assert re.search(r"charge_card .* dora +reset: the bank is back", told)


def test_a_resolved_step_needs_no_result_for_the_rest_to_go_on(shop):
    task = shop.failed()
    told = shop("step", "resolve", task, "charge_card", *WHY_NOT).stdout
    assert told.startswith(f"✓ resolve: task {task}: blocked_by_failures → ")
    assert re.search(r"charge_card +error +✓ resolved_manually", told)
    assert shop.resumed(task)["ship"] == {"paid": None}
    assert shop.states(task)["charge_card"] == "resolved_manually"
    assert [verb for verb, _, _ in shop.noted(task)] == ["resolve"]


@pytest.mark.parametrize("form", ["text", "file", "input"])
def test_a_step_is_completed_with_a_result_made_by_hand(shop, tmp_path, form):
    task = shop.failed()
    result = '{"charged": 0, "how": "cash"}'
    (tmp_path / "result.json").write_text(result)
    given = {"text": result, "file": "@result.json", "input": "-"}[form]
    change = shop.json(
        "step", "complete", task, "charge_card", "--result", given, "--metadata", '{"slip": 7}', *WHY_NOT, input=result
    )
    assert change["steps"][0] == {"step": "charge_card", "from_state": "error", "to_state": "complete"}
    step = shop.steps(task)[1]
    assert (step["state"], step["result"]) == ("complete", json.loads(result))
    assert step["metadata"]["slip"] == 7
    assert shop.resumed(task)["ship"] == {"paid": json.loads(result)}


def test_a_step_is_found_by_its_uuid_too(shop):
    task = shop.failed()
    charge_card = str(step_uuid(UUID(task), 1)).upper()
    assert [answer["step"] for answer in shop.json("task", "why", task, charge_card)["steps"]] == ["charge_card"]
    assert shop.json("step", "reset", task, charge_card, *WHY_NOT)["steps"][0]["step"] == "charge_card"
    assert set(shop.resumed(task)) == {"load_order", "charge_card", "ship"}
    rerun = shop.json("task", "rerun", task, "--from", charge_card, *WHY_NOT)
    assert [step["step"] for step in rerun["steps"]] == ["charge_card", "ship"]


def test_what_cannot_be_done_to_a_step_is_refused_with_the_state_it_is_in(shop):
    task = shop.completed()
    before = shop.everything(task)
    for verb, more in (("reset", ()), ("resolve", ()), ("complete", ("--result", "{}"))):
        assert "step 'ship' is complete" in shop.refusal("step", verb, task, "ship", *more, *WHY_NOT)
    assert shop.everything(task) == before


# Whole tasks


def test_a_cancelled_task_is_over_for_good(shop, waiting):
    change = shop.json("task", "cancel", waiting, "-r", "withdrawn", "--actor", "dora")
    assert (change["from_state"], change["to_state"]) == ("pending", "cancelled")
    assert {step["to_state"] for step in change["steps"]} == {"cancelled"}
    assert shop.state(waiting) == "cancelled"
    assert set(shop.states(waiting).values()) == {"cancelled"}
    assert shop.noted(waiting) == [("cancel", "dora", "withdrawn")]
    assert shop.json("run", "order.yaml", "--resume", waiting, exits=6)["status"] == "cancelled"


def test_cancelling_again_changes_nothing_and_is_no_error(shop, waiting):
    shop("task", "cancel", waiting, *WHY_NOT)
    before = shop.everything(waiting)
    assert f"nothing to do: task {waiting} is cancelled already" in shop("task", "cancel", waiting, *WHY_NOT).stdout
    again = shop.json("task", "cancel", waiting, *WHY_NOT)
    assert (again["changed"], again["steps"]) == (False, [])
    assert shop.everything(waiting) == before


def test_a_paused_task_stands_still_until_it_is_resumed(shop, waiting):
    assert shop.json("task", "pause", waiting, "-r", "the bank is down", "--actor", "dora")["changed"]
    assert re.search(r"Paused: since \S+ by dora: the bank is down\n", shop("task", "get", waiting).stdout)
    assert shop.json("task", "why", waiting, "load_order")["steps"][0]["blocker"] == "paused"
    shop("run", "order.yaml", "--quiet", "--resume", waiting, "--timeout", "0.5", exits=1)
    assert shop.states(waiting)["load_order"] == "enqueued"
    assert "is paused already" in shop("task", "pause", waiting, *WHY_NOT).stdout

    assert shop.json("task", "resume", waiting, "--actor", "emil")["changed"]
    assert "Paused:" not in shop("task", "get", waiting).stdout
    assert "is not paused" in shop("task", "resume", waiting).stdout
    assert not shop.json("task", "resume", waiting)["changed"]
    shop.resumed(waiting)
    assert shop.noted(waiting) == [("pause", "dora", "the bank is down"), ("resume", "emil", None)]


def test_a_retried_task_keeps_what_is_done_and_runs_what_failed(shop):
    task = shop.failed()
    loaded = shop.steps(task)[0]
    change = shop.json("task", "retry", task)
    assert (change["verb"], change["reason"]) == ("retry", None)
    assert change["steps"] == [{"step": "charge_card", "from_state": "error", "to_state": "enqueued"}]
    shop.resumed(task)
    assert shop.steps(task)[0] == loaded


def test_a_rerun_begins_with_a_step_and_includes_all_behind_it(shop):
    task = shop.completed()
    loaded = shop.steps(task)[0]
    change = shop.json("task", "rerun", task, "--from", "charge_card", "-r", "wrong currency")
    assert (change["from_state"], change["removed"]) == ("complete", [])
    assert [(step["step"], step["to_state"]) for step in change["steps"]] == [
        ("charge_card", "enqueued"),
        ("ship", "pending"),
    ]
    assert shop.state(task) == change["to_state"]
    assert shop.steps(task)[2]["result"] is None
    shop.resumed(task)
    assert shop.steps(task)[0] == loaded
    history = [change["step"] for change in shop.json("task", "history", task)["history"]]
    assert history.count("ship") > history.count("load_order")


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_what_cannot_be_done_to_a_task_is_refused_with_the_state_it_is_in(shop, verb):
    task = shop.completed()
    before = shop.everything(task)
    assert "complete" in shop.refusal("task", verb, task, *WHY_NOT)
    assert shop.everything(task) == before


def test_a_dry_run_tells_what_the_real_run_does_and_changes_nothing(shop):
    task = shop.failed()
    (entry,) = (entry["dlq_entry_uuid"] for entry in shop.json("dlq", "list")["entries"])
    before = shop.everything(task)
    commands = (
        ("task", "rerun", task, "--from", "load_order", *WHY_NOT),
        ("task", "retry", task, *WHY_NOT),
        ("dlq", "resolve", entry, "--action", "retry"),
        ("task", "cancel", task, *WHY_NOT),
    )
    foretold = {}
    for command in commands:
        dry = shop(*command, "--dry-run")
        assert "nothing is changed" in dry.stderr
        assert "charge_card" in dry.stdout
        foretold[command] = shop.json(*command, "--dry-run")
    assert shop.everything(task) == before
    last = commands[-1]
    assert shop.json(*last) | {"dry_run": True} == foretold[last]


def test_why_names_for_each_step_what_it_really_waits_for(shop, waiting):
    task = shop.failed()
    answers = {answer["step"]: answer for answer in shop.json("task", "why", task)["steps"]}
    assert {name: answer["blocker"] for name, answer in answers.items()} == {
        "load_order": "done",
        "charge_card": "failed",
        "ship": "unmet_dependencies",
    }
    assert answers["ship"]["waits_for"] == ["charge_card"]
    told = shop("task", "why", task).stdout.splitlines()
    assert len(told) == 1 + len(answers)
    for line, answer in zip(told[1:], answers.values(), strict=True):
        assert answer["step"] in line
        assert answer["explanation"] in line
    # The workers that there were have stopped.
    assert shop.json("task", "why", waiting, "load_order")["steps"][0]["blocker"] == "no_worker"


# Dead letters


def test_a_task_that_nothing_moves_any_more_is_a_dead_letter_until_it_is_retried(shop):
    task = shop.failed()
    (entry,) = shop.json("dlq", "list", "--status", "pending", "--reason", "max_retries_exceeded")["entries"]
    uuid = entry["dlq_entry_uuid"]
    assert (entry["task_uuid"], entry["original_state"], entry["name"]) == (task, "blocked_by_failures", "order")
    assert re.search(rf"{uuid} +pending +max_retries_exceeded +{task}", shop("dlq", "list").stdout)
    assert "no dead letters" in shop("dlq", "list", "--status", "cancelled").stderr
    assert shop.json("dlq", "list", "--reason", "manual_dlq") == {"entries": []}
    assert shop.json("dlq", "list", "--before", uuid) == {"entries": []}
    assert shop.json("dlq", "get", uuid) == entry
    assert "the bank is [down]" in shop("dlq", "get", uuid).stdout

    resolved = shop.json("dlq", "resolve", uuid, "--action", "retry", "--notes", "the bank is back", "--actor", "dora")
    assert (resolved["resolution_status"], resolved["resolved_by"]) == ("manually_resolved", "dora")
    assert resolved["resolution_notes"] == "the bank is back"
    assert (resolved["change"]["verb"], resolved["change"]["actor"]) == ("retry", "dora")
    shop.resumed(task)
    assert "no dead letters" in shop("dlq", "list", "--status", "pending").stderr
    told = shop("dlq", "get", uuid).stdout
    assert "Notes: the bank is back" in told
    assert re.search(r"Resolved: \S+ by dora", told)
    (row,) = shop.json("dlq", "stats")["stats"]
    assert (row["dlq_reason"], row["total_entries"], row["pending"], row["manually_resolved"]) == (
        "max_retries_exceeded", 1, 0, 1
    )  # fmt: skip
    assert re.search(r"max_retries_exceeded +1 +0 +1 +0 +0 ", shop("dlq", "stats").stdout)


@pytest.mark.parametrize(
    ("action", "status", "verb", "state"),
    [
        ("resolve", "manually_resolved", "resolve", None),
        ("cancel", "cancelled", "cancel", "cancelled"),
        ("discard", "permanently_failed", None, None),
        ("none", "manually_resolved", None, "blocked_by_failures"),
    ],
)
def test_each_action_settles_the_dead_letter_and_what_is_behind_it(shop, action, status, verb, state):
    task = shop.failed()
    (entry,) = shop.json("dlq", "list")["entries"]
    told = shop("dlq", "resolve", entry["dlq_entry_uuid"], "--action", action, "--notes", "a test").stdout
    assert f"✓ dead letter {entry['dlq_entry_uuid']}: {status}" in told
    if verb:
        assert f"✓ {verb}: task {task}" in told
    if state:
        assert shop.state(task) == state


def test_where_nothing_failed_there_are_no_dead_letters(shop):
    shop.completed()
    for command in (("dlq", "list"), ("dlq", "stats")):
        done = shop(*command)
        assert (done.stdout, done.stderr.strip()) == ("", "no dead letters")
    assert shop.json("dlq", "stats") == {"stats": []}


# Who, why, and nonsense


def test_who_does_it_is_the_login_name_unless_told(shop, waiting):
    change = shop.json("task", "pause", waiting, *WHY_NOT, LOGNAME="frieda")
    assert change["actor"] == "frieda"
    assert change["reason"] == "a test"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task", "cancel", "not-a-uuid", *WHY_NOT], "TASK"),
        (["task", "cancel", NO_TASK], "--reason"),
        (["task", "cancel", NO_TASK, "-r", "  "], "must not be empty"),
        (["task", "pause", NO_TASK], "--reason"),
        (["task", "retry", NO_TASK, "-r", ""], "must not be empty"),
        (["task", "retry", NO_TASK, "--actor", " "], "must not be empty"),
        (["task", "rerun", NO_TASK, *WHY_NOT], "--from"),
        (["step", "reset", NO_TASK, *WHY_NOT], "STEP"),
        (["step", "reset", NO_TASK, "s"], "--reason"),
        (["step", "reset", NO_TASK, "s", "-r", "\udcff"], "not UTF-8"),
        (["step", "resolve", NO_TASK, "s"], "--reason"),
        (["step", "complete", NO_TASK, "s", *WHY_NOT], "--result"),
        (["step", "complete", NO_TASK, "s", "--result", "[1]", *WHY_NOT], "--result must be a JSON object, not an arr"),
        (["step", "complete", NO_TASK, "s", "--result", "7", *WHY_NOT], "--result must be a JSON object, not a number"),
        (["step", "complete", NO_TASK, "s", "--result", "{x", *WHY_NOT], "--result is not valid JSON"),
        (
            ["step", "complete", NO_TASK, "s", "--result", "@none", *WHY_NOT],
            "cannot read the result from none: No such",
        ),
        (["step", "complete", NO_TASK, "s", "--result", "-", *WHY_NOT], "standard input is empty; the result must be"),
        (
            ["step", "complete", NO_TASK, "s", "--result", "{}", "--metadata", "1", *WHY_NOT],
            "--metadata must be a JSON",
        ),
        (["dlq", "get", "not-a-uuid"], "ENTRY"),
        (["dlq", "list", "--status", "open"], "manually_resolved"),
        (["dlq", "list", "--reason", "bad_luck"], "staleness_timeout"),
        (["dlq", "list", "--limit", "0"], "--limit"),
        (["dlq", "resolve", NO_TASK], "--action"),
        (["dlq", "resolve", NO_TASK, "--action", "pray"], "discard"),
    ],
)
def test_nonsense_is_refused_before_the_database_is_asked(tasker, tmp_path, arguments, message):
    done = tasker(*arguments, NO_COLOR="1", COLUMNS="300")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".tasker").exists()


def test_what_does_not_exist_is_said_to_be_missing(shop, waiting):
    for command in (
        ("task", "cancel", NO_TASK, *WHY_NOT), ("task", "pause", NO_TASK, *WHY_NOT), ("task", "resume", NO_TASK),
        ("task", "retry", NO_TASK), ("task", "rerun", NO_TASK, "--from", "s", *WHY_NOT), ("task", "why", NO_TASK),
        ("step", "reset", NO_TASK, "s", *WHY_NOT), ("step", "resolve", NO_TASK, NO_TASK, *WHY_NOT),
        ("step", "complete", NO_TASK, "s", "--result", "{}", *WHY_NOT),
    ):  # fmt: skip
        assert f"there is no task {NO_TASK}" in shop.refusal(*command, code=3)
    for command in (("dlq", "get", NO_TASK), ("dlq", "resolve", NO_TASK, "--action", "none")):
        assert NO_TASK in shop.refusal(*command, code=3)
    elsewhere = str(step_uuid(UUID(NO_TASK), 1))
    for name, hint in (("chargecard", "did you mean 'charge_card'?"), (elsewhere, elsewhere), ("", "step")):
        for command in (
            ("task", "why", waiting, name), ("step", "reset", waiting, name, *WHY_NOT),
            ("task", "rerun", waiting, "--from", name, *WHY_NOT),
        ):  # fmt: skip
            assert hint in shop.refusal(*command, code=3)
