"""``tasker step``: put a single step right by hand."""

from typing import Annotated, Any

import typer

from tasker_core.cli.common import DatabaseOption, read_object
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.operations import ActorOption, ReasonOption, StepArgument, TaskArgument, perform, step_name
from tasker_core.cli.output import JsonOption, examples
from tasker_core.cli.remote_operator import Operator

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Put a single step right by hand.",
    epilog=examples(
        "tasker step reset TASK_UUID charge_card -r 'the bank is back'",
        "tasker step resolve TASK_UUID send_mail -r 'sent by hand'",
        "tasker step complete TASK_UUID charge_card --result '{\"charged\": 4990}' -r 'paid in cash'",
    ),
)


@app.command(epilog=examples("tasker step reset TASK_UUID charge_card --reason 'the bank is back'"))
def reset(
    task: TaskArgument,
    step: StepArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a failed step run again, with all its attempts.

    What waits for it goes on once it completes. Needs a worker that has its handler.
    """

    async def work(opened: Operator) -> dict[str, Any]:
        return await opened.reset_step(task, await step_name(opened, task, step), actor=actor, reason=reason)

    perform(work, database_url, as_json)


@app.command(epilog=examples("tasker step resolve TASK_UUID send_mail --reason 'sent by hand'"))
def resolve(
    task: TaskArgument,
    step: StepArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare a step dealt with, without a result.

    What waits for it goes on. If later steps need its result, use complete instead.
    """

    async def work(opened: Operator) -> dict[str, Any]:
        return await opened.resolve_step(task, await step_name(opened, task, step), actor=actor, reason=reason)

    perform(work, database_url, as_json)


@app.command(
    epilog=examples(
        "tasker step complete TASK_UUID charge_card --result '{\"charged\": 4990}' --reason 'paid in cash'",
        "tasker step complete TASK_UUID charge_card --result @receipt.json --reason 'paid in cash'",
    )
)
def complete(
    task: TaskArgument,
    step: StepArgument,
    result: Annotated[
        str, typer.Option("--result", metavar="JSON|@FILE|-", help="What the step results in, a JSON object.")
    ],
    reason: ReasonOption,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", metavar="JSON|@FILE|-", help="More about the result, a JSON object.  Default: none"),
    ] = None,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Complete a step with a result made by hand.

    What waits for it goes on with this result, as if the handler had returned it.
    """
    with errors_explained():
        given = read_object(result, "--result")
        more = None if metadata is None else read_object(metadata, "--metadata")

    async def work(opened: Operator) -> dict[str, Any]:
        name = await step_name(opened, task, step)
        return await opened.complete_step(task, name, given, metadata=more, actor=actor, reason=reason)

    perform(work, database_url, as_json)
