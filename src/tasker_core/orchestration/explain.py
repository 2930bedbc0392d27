"""Why the steps of a task do not run."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from tasker_core.engine import blockers, staleness
from tasker_core.engine.blockers import Explanation, StepFacts, TaskFacts
from tasker_core.orchestration.operations import StepNotFoundError, TaskNotFoundError
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.structures import structure_of
from tasker_core.serialization import rfc3339
from tasker_core.states import StepState, TaskState
from tasker_core.store import Store
from tasker_core.store.explain import read_standing


async def why(
    store: Store, plans: Plans, task_uuid: UUID, step: str | None = None, *, lease_seconds: float
) -> list[dict[str, Any]]:
    """Return what each step of a task waits for, in template order; see :class:`~tasker_core.engine.blockers.Blocker`.

    Steps of the template that do not exist are there too, in state ``absent``.

    Args:
        store: where the task is.
        plans: plans of stored templates.
        task_uuid: the task.
        step: name of the only step that is of interest; that of a mould stands for the batch workers made from it.
        lease_seconds: how long leases last, which tells live workers from dead ones.

    Raises:
        TaskNotFoundError: there is no such task.
        StepNotFoundError: neither the task nor its template has such a step.
    """
    task, steps = await read_standing(store.database, task_uuid, silence=staleness.silence(lease_seconds))
    if task is None:
        raise TaskNotFoundError(task_uuid)
    plan = await plans.get(task["template_id"])
    facts = {key: value for key, value in task.items() if key != "template_id"}
    explanations = blockers.explain(
        plan,
        await structure_of(store, plan, task_uuid),
        TaskFacts(**{**facts, "state": TaskState(task["state"])}),
        [StepFacts(**{**row, "state": StepState(row["state"])}) for row in steps],
    )
    if step is not None:
        known = dict.fromkeys(name for each in explanations for name in (each.step, each.template_step))
        if step not in known:
            raise StepNotFoundError(task_uuid, step, list(known))
        explanations = [each for each in explanations if step in (each.step, each.template_step)]
    return [_view(each) for each in explanations]


def _view(explanation: Explanation) -> dict[str, Any]:
    view = asdict(explanation)
    del view["template_step"]
    view["blocker"] = explanation.blocker.value
    view["explanation"] = view.pop("sentence")
    view["waits_for"] = list(explanation.waits_for)
    return {key: rfc3339(value) if isinstance(value, datetime) else value for key, value in view.items()}
