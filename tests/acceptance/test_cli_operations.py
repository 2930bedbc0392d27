"""What operators do: verbs change what other commands then show, say what they did, and refuse with a reason."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import working
from typer.testing import CliRunner

from tasker_core.cli.app import app
from tasker_core.errors import RetryableError
from tasker_core.identifiers import step_uuid
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.step_handler.functional import step_handler
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

#: For `tasker run`; by then the bank is back.
HANDLERS = """
from tasker_core.step_handler.functional import step_handler

@step_handler("load_order")
def load_order(context):
    return {"cents": 4990}

@step_handler("charge_card")
def charge_card(context):
    return {"charged": 4990}

@step_handler("ship")
def ship(context):
    return {"paid": context.get_dependency_result("charge_card")}
"""

NO_TASK = "01a20bd2-12f6-7c21-8159-f3ff32000000"
WHY_NOT = ("--reason", "a test")


class Shop:
    """A project with one template, the commands that run in it, and an engine to prepare tasks with."""

    def __init__(
        self, tasker: Callable[..., subprocess.CompletedProcess[str]], directory: Path, url: str, engine: Engine
    ) -> None:
        self._tasker = tasker
        self._url = url
        self._engine = engine
        self._bank_is_down = False
        template = directory / "order.yaml"
        template.write_text(TEMPLATE)
        (directory / "handlers.py").write_text(HANDLERS)
        self._template = load_file(template)

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

    async def waiting(self) -> str:
        """A task that no worker has touched."""
        return str(await self._engine.create_task(self._template, TaskRequest(idempotency_key=str(uuid4()))))

    async def failed(self) -> str:
        """A task whose card could not be charged in any attempt; the bank is back when it returns."""
        self._bank_is_down = True
        task = await self.waiting()
        await self.results(task)
        self._bank_is_down = False
        return task

    async def completed(self) -> str:
        task = await self.waiting()
        await self.results(task)
        return task

    async def results(self, task: str) -> dict[str, Any]:
        """Let a worker go on with a task, and return what each step has resulted in when it rests."""

        @step_handler("load_order")
        def load_order(context):
            return {"cents": 4990}

        @step_handler("charge_card")
        def charge_card(context):
            if self._bank_is_down:
                raise RetryableError("the bank is [down]\nfor today")
            return {"charged": 4990}

        @step_handler("ship")
        def ship(context):
            return {"paid": context.get_dependency_result("charge_card")}

        async with working(self._engine, {"load_order": load_order, "charge_card": charge_card, "ship": ship}):
            await self._engine.wait(UUID(task), timeout=60)
        return {step["name"]: step["result"] for step in await self.steps(task)}

    async def state(self, task: str) -> str:
        return str((await self._engine.task(UUID(task)))["status"])

    async def steps(self, task: str) -> list[dict[str, Any]]:
        return await self._engine.steps(UUID(task))

    async def everything(self, task: str) -> list[Any]:
        """All that a command which changes something could change."""
        read, uuid = self._engine, UUID(task)
        return [await read.task(uuid), await read.steps(uuid), await read.history(uuid), await read.dlq_entries()]

    async def noted(self, task: str) -> set[tuple[str, str, str]]:
        """What people did, by verb, actor and reason."""
        history = await self._engine.history(UUID(task))
        return {(change["verb"], change["actor"], change["reason"]) for change in history if change["verb"]}


@pytest.fixture
def shop(tasker, tmp_path: Path, database_url: str, engine: Engine) -> Shop:
    return Shop(tasker, tmp_path, database_url, engine)


@pytest.fixture
async def waiting(shop: Shop) -> str:
    return await shop.waiting()


# Single steps


async def test_a_reset_step_runs_again_with_all_its_attempts_and_the_task_completes(shop):
    task = await shop.failed()
    assert (await shop.steps(task))[1]["attempts"] == 2
    change = shop.json("step", "reset", task, "charge_card", "-r", "the bank is back", "--actor", "dora")
    assert change == {
        "task_uuid": task,
        "verb": "reset",
        "changed": True,
        "dry_run": False,
        "from_state": "blocked_by_failures",
        "to_state": await shop.state(task),
        "actor": "dora",
        "reason": "the bank is back",
        "steps": [{"step": "charge_card", "from_state": "error", "to_state": "enqueued"}],
        "removed": [],
    }
    shown = shop.json("task", "steps", task)["steps"][1]
    assert (shown["current_state"], shown["attempts"]) == ("enqueued", 0)
    outcome = shop.json("run", "order.yaml", "--resume", task)
    assert outcome["steps"][2]["result"] == {"paid": {"charged": 4990}}
    assert await shop.noted(task) == {("reset", "dora", "the bank is back")}
    assert re.search(r"charge_card .* dora +reset: the bank is back *\n", shop("task", "history", task).stdout)


async def test_a_resolved_step_needs_no_result_for_the_rest_to_go_on(shop):
    task = await shop.failed()
    told = shop("step", "resolve", task, "charge_card", *WHY_NOT).stdout
    assert told.startswith(f"✓ resolve: task {task}: blocked_by_failures → ")
    assert re.search(r"charge_card +error +✓ resolved_manually", told)
    assert (await shop.results(task))["ship"] == {"paid": None}
    assert "✓ resolved_manually" in shop("task", "steps", task).stdout
    assert (await shop.noted(task)).pop()[::2] == ("resolve", "a test")


@pytest.mark.parametrize("form", ["text", "file", "input"])
async def test_a_step_is_completed_with_a_result_made_by_hand(shop, tmp_path, form):
    task = await shop.failed()
    result = '{"charged": 0, "how": "cash"}'
    (tmp_path / "result.json").write_text(result)
    given = {"text": result, "file": "@result.json", "input": "-"}[form]
    change = shop.json(
        "step", "complete", task, "charge_card", "--result", given, "--metadata", '{"slip": 7}', *WHY_NOT, input=result
    )
    assert change["steps"] == [{"step": "charge_card", "from_state": "error", "to_state": "complete"}]
    step = (await shop.steps(task))[1]
    assert (step["current_state"], step["result"]) == ("complete", json.loads(result))
    assert step["metadata"]["slip"] == 7
    assert (await shop.results(task))["ship"] == {"paid": json.loads(result)}


async def test_a_step_is_found_by_its_uuid_too(shop):
    task = await shop.failed()
    charge_card = str(step_uuid(UUID(task), 1)).upper()
    assert [answer["step"] for answer in shop.json("task", "why", task, charge_card)["steps"]] == ["charge_card"]
    assert shop.json("step", "reset", task, charge_card, *WHY_NOT)["steps"][0]["step"] == "charge_card"
    await shop.results(task)
    rerun = shop.json("task", "rerun", task, "--from", charge_card, *WHY_NOT)
    assert [step["step"] for step in rerun["steps"]] == ["charge_card", "ship"]


async def test_what_cannot_be_done_to_a_step_is_refused_with_the_state_it_is_in(shop):
    task = await shop.failed()
    before = await shop.everything(task)
    for verb, more in (("reset", ()), ("resolve", ()), ("complete", ("--result", "{}"))):
        assert "step 'load_order' is complete" in shop.refusal("step", verb, task, "load_order", *more, *WHY_NOT)
    assert await shop.everything(task) == before


# Whole tasks


async def test_a_cancelled_task_is_over_for_good_and_cancelling_it_again_is_no_error(shop):
    task = await shop.waiting()
    change = shop.json("task", "cancel", task, "-r", "withdrawn", "--actor", "dora")
    assert (change["from_state"], change["to_state"]) == ("pending", "cancelled")
    assert [step["to_state"] for step in change["steps"]] == ["cancelled"] * 3
    shown = shop("task", "get", task).stdout
    assert "State: ⊘ cancelled" in shown
    assert await shop.noted(task) == {("cancel", "dora", "withdrawn")}
    before = await shop.everything(task)

    assert f"nothing to do: task {task} is cancelled already" in shop("task", "cancel", task, *WHY_NOT).stdout
    again = shop.json("task", "cancel", task, *WHY_NOT)
    assert (again["changed"], again["steps"]) == (False, [])
    for command in (("task", "retry", task), ("task", "pause", task), ("step", "reset", task, "ship")):
        assert "cancelled" in shop.refusal(*command, *WHY_NOT)
    assert await shop.everything(task) == before
    assert shop.json("run", "order.yaml", "--resume", task, exits=6)["status"] == "cancelled"


async def test_a_paused_task_stands_still_until_it_is_resumed(shop):
    task = await shop.waiting()
    assert shop.json("task", "pause", task, "-r", "the bank is down", "--actor", "dora")["changed"]
    assert re.search(r"Paused: since \S+ by dora: the bank is down\n", shop("task", "get", task).stdout)
    assert shop.json("task", "why", task, "load_order")["steps"][0]["blocker"] == "paused"
    shop("run", "order.yaml", "--quiet", "--resume", task, "--timeout", "0.5", exits=1)
    assert (await shop.steps(task))[0]["current_state"] == "enqueued"
    assert "is paused already" in shop("task", "pause", task, *WHY_NOT).stdout

    assert shop.json("task", "resume", task, "--actor", "emil")["changed"]
    assert "Paused:" not in shop("task", "get", task).stdout
    assert "is not paused" in shop("task", "resume", task).stdout
    await shop.results(task)
    assert await shop.state(task) == "complete"
    assert await shop.noted(task) == {("pause", "dora", "the bank is down"), ("resume", "emil", None)}


async def test_a_retried_task_keeps_what_is_done_and_runs_what_failed(shop):
    task = await shop.failed()
    loaded = (await shop.steps(task))[0]
    change = shop.json("task", "retry", task)
    assert (change["verb"], change["reason"]) == ("retry", None)
    assert change["steps"] == [{"step": "charge_card", "from_state": "error", "to_state": "enqueued"}]
    await shop.results(task)
    assert await shop.state(task) == "complete"
    assert (await shop.steps(task))[0] == loaded


async def test_a_rerun_begins_with_a_step_and_includes_all_behind_it(shop):
    task = await shop.completed()
    loaded = (await shop.steps(task))[0]
    change = shop.json("task", "rerun", task, "--from", "charge_card", "-r", "wrong currency")
    assert (change["from_state"], change["removed"]) == ("complete", [])
    assert [(step["step"], step["to_state"]) for step in change["steps"]] == [
        ("charge_card", "enqueued"),
        ("ship", "pending"),
    ]
    assert await shop.state(task) == change["to_state"]
    assert (await shop.steps(task))[2]["result"] is None
    assert shop.json("run", "order.yaml", "--resume", task)["steps"][2]["result"] == {"paid": {"charged": 4990}}
    assert (await shop.steps(task))[0] == loaded
    changes = [change["step"] for change in shop.json("task", "history", task)["history"]]
    assert changes.count("ship") > changes.count("load_order")


async def test_what_cannot_be_done_to_a_task_is_refused_with_the_state_it_is_in(shop):
    task = await shop.completed()
    before = await shop.everything(task)
    for verb in ("cancel", "pause", "retry"):
        assert "a task that is complete cannot be" in shop.refusal("task", verb, task, *WHY_NOT)
    assert await shop.everything(task) == before
    waiting = await shop.waiting()
    assert "is pending" in shop.refusal("task", "retry", waiting)
    assert "is pending" in shop.refusal("task", "rerun", waiting, "--from", "ship", *WHY_NOT)


async def test_a_dry_run_tells_what_the_real_run_does_and_changes_nothing(shop):
    task = await shop.failed()
    (entry,) = (entry["dlq_entry_uuid"] for entry in shop.json("dlq", "list")["entries"])
    before = await shop.everything(task)
    for command in (
        ("task", "rerun", task, "--from", "load_order", *WHY_NOT),
        ("task", "retry", task),
        ("task", "cancel", task, *WHY_NOT),
        *(("dlq", "resolve", entry, "--action", action) for action in ("retry", "resolve", "discard", "cancel")),
    ):
        dry = shop(*command, "--dry-run")
        assert "nothing is changed" in dry.stderr
        assert f"task {task}: blocked_by_failures → " in dry.stdout
    nothing = shop("dlq", "resolve", entry, "--action", "none", "--dry-run")
    assert f"dead letter {entry} would be closed" in nothing.stdout
    foretold = shop.json("task", "cancel", task, *WHY_NOT, "--dry-run")
    assert await shop.everything(task) == before
    assert shop.json("task", "cancel", task, *WHY_NOT) == foretold | {"dry_run": False}


async def test_why_names_for_each_step_what_it_really_waits_for(shop):
    task, waiting = await shop.failed(), await shop.waiting()
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
        assert line.split()[0] == answer["step"]
        assert " ".join(answer["explanation"].split()) in line
    # The worker that there was has stopped.
    assert shop.json("task", "why", waiting, "load_order")["steps"][0]["blocker"] == "no_worker"


# Dead letters


async def test_a_task_that_nothing_moves_any_more_is_a_dead_letter_until_it_is_retried(shop):
    task = await shop.failed()
    (entry,) = shop.json("dlq", "list", "--status", "pending", "--reason", "max_retries_exceeded")["entries"]
    uuid = entry["dlq_entry_uuid"]
    assert (entry["task_uuid"], entry["original_state"], entry["name"]) == (task, "blocked_by_failures", "order")
    assert re.search(rf"{uuid} +pending +max_retries_exceeded +{task}", shop("dlq", "list").stdout)
    for others in (("--status", "cancelled"), ("--reason", "manual_dlq"), ("--before", uuid)):
        assert shop.json("dlq", "list", *others) == {"entries": []}
    assert shop.json("dlq", "get", uuid) == entry
    assert "the bank is [down]" in shop("dlq", "get", uuid).stdout

    resolved = shop.json("dlq", "resolve", uuid, "--action", "retry", "--notes", "the bank is back", "--actor", "dora")
    assert (resolved["resolution_status"], resolved["resolved_by"]) == ("manually_resolved", "dora")
    assert resolved["resolution_notes"] == "the bank is back"
    assert (resolved["change"]["verb"], resolved["change"]["actor"]) == ("retry", "dora")
    await shop.results(task)
    assert await shop.state(task) == "complete"
    told = shop("dlq", "get", uuid).stdout
    assert "Notes: the bank is back" in told
    assert re.search(r"Resolved: \S+ by dora", told)
    assert "manually_resolved already" in shop.refusal("dlq", "resolve", uuid, "--action", "none")
    (row,) = shop.json("dlq", "stats")["stats"]
    assert (row["total_entries"], row["pending"], row["manually_resolved"]) == (1, 0, 1)
    assert re.search(r"max_retries_exceeded +1 +0 +1 +0 +0 ", shop("dlq", "stats").stdout)


@pytest.mark.parametrize(
    ("action", "status", "state"),
    [
        ("retry", "manually_resolved", "steps_in_process"),
        ("resolve", "manually_resolved", "resolved_manually"),
        ("discard", "permanently_failed", "error"),
        ("cancel", "cancelled", "cancelled"),
        ("none", "manually_resolved", "blocked_by_failures"),
    ],
)
async def test_each_action_settles_the_dead_letter_and_the_task_behind_it(shop, action, status, state):
    task = await shop.failed()
    (entry,) = (entry["dlq_entry_uuid"] for entry in shop.json("dlq", "list")["entries"])
    told = shop("dlq", "resolve", entry, "--action", action).stdout
    assert f"✓ dead letter {entry}: {status}\n" in told
    if action != "none":
        assert f"✓ {action}: task {task}: blocked_by_failures → {state}\n" in told
    assert await shop.state(task) == state


async def test_where_nothing_failed_there_are_no_dead_letters(shop):
    await shop.completed()
    for command in (("dlq", "list"), ("dlq", "stats")):
        done = shop(*command)
        assert (done.stdout, done.stderr.strip()) == ("", "no dead letters")
    assert shop.json("dlq", "stats") == {"stats": []}


# Who, and nonsense


async def test_who_does_it_is_the_login_name_unless_told(shop):
    task = await shop.waiting()
    assert shop.json("task", "pause", task, *WHY_NOT, LOGNAME="frieda")["actor"] == "frieda"
    assert await shop.noted(task) == {("pause", "frieda", "a test")}


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
def test_nonsense_is_refused_before_the_database_is_asked(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1"}).invoke(app, arguments)
    assert done.exit_code == 2, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".tasker").exists()


def test_what_does_not_exist_is_said_to_be_missing(shop, waiting, database_url):
    def refusal(*arguments):
        done = CliRunner(env={"DATABASE_URL": database_url}).invoke(app, arguments)
        assert (done.exit_code, done.stdout) == (3, ""), done.stderr
        return done.stderr

    for command in (
        ("task", "cancel", NO_TASK, *WHY_NOT), ("task", "pause", NO_TASK, *WHY_NOT), ("task", "resume", NO_TASK),
        ("task", "retry", NO_TASK), ("task", "rerun", NO_TASK, "--from", "s", *WHY_NOT), ("task", "why", NO_TASK),
        ("step", "reset", NO_TASK, "s", *WHY_NOT), ("step", "resolve", NO_TASK, NO_TASK, *WHY_NOT),
        ("step", "complete", NO_TASK, "s", "--result", "{}", *WHY_NOT),
    ):  # fmt: skip
        assert f"there is no task {NO_TASK}" in refusal(*command)
    for command in (("dlq", "get", NO_TASK), ("dlq", "resolve", NO_TASK, "--action", "none")):
        assert f"there is no dead letter {NO_TASK}" in refusal(*command)
    elsewhere = str(step_uuid(UUID(NO_TASK), 1))
    for command, more in (
        (("task", "why", waiting), ()),
        (("step", "reset", waiting), WHY_NOT),
        (("task", "rerun", waiting, "--from"), WHY_NOT),
    ):
        assert "no step 'chargecard'; did you mean 'charge_card'?" in refusal(*command, "chargecard", *more)
        assert f"no step '{elsewhere}'" in refusal(*command, elsewhere, *more)
