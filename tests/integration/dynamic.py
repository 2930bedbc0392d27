"""Templates whose steps appear at run time, the outcomes that call for them, and a worker that tests move by hand."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from uuid import UUID

from tests.integration.support import AT_ONCE

from tasker_core import serialization
from tasker_core.orchestration import Engine, LocalStepSource
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.rescuer import Rescuer
from tasker_core.step_source import LeasedStep, LeaseKey, StepReport
from tasker_core.template import (
    BatchConfig,
    FailureStrategy,
    HandlerReference,
    IdentityStrategy,
    RetryPolicy,
    StepTemplate,
    StepType,
    TaskTemplate,
)

#: What a decision returns that goes on with none of its steps.
NO_BRANCHES = {"decision_point_outcome": {"type": "no_branches"}}

#: What an analyzer returns that finds nothing to do.
NO_BATCHES = {"batch_processing_outcome": {"type": "no_batches"}}


def step(
    name: str,
    *dependencies: str,
    type: StepType = StepType.STANDARD,  # noqa: A002 - as in templates
    callable: str = "work",  # noqa: A002 - as in templates
    retry: RetryPolicy = AT_ONCE,
    batch_config: BatchConfig | None = None,
    **initialization: Any,
) -> StepTemplate:
    """A step; three attempts without a pause in between are the default."""
    return StepTemplate(
        name=name,
        type=type,
        handler=HandlerReference(callable=callable, initialization=initialization),
        dependencies=dependencies,
        retry=retry,
        batch_config=batch_config,
    )


def decision(name: str, *dependencies: str, **options: Any) -> StepTemplate:
    """A decision step."""
    return step(name, *dependencies, type=StepType.DECISION, **options)


def convergence(name: str, *dependencies: str, **options: Any) -> StepTemplate:
    """A step that waits for those of its dependencies that come to exist."""
    return step(name, *dependencies, type=StepType.DEFERRED_CONVERGENCE, **options)


def analyzer(name: str, *dependencies: str, **options: Any) -> StepTemplate:
    """A batchable step."""
    return step(name, *dependencies, type=StepType.BATCHABLE, **options)


def mould(
    name: str,
    *dependencies: str,
    parallelism: int = 10,
    strategy: FailureStrategy = FailureStrategy.CONTINUE_ON_FAILURE,
    worker_template: str | None = None,
    cursor_field: str = "id",
    **options: Any,
) -> StepTemplate:
    """A batch worker step."""
    config = BatchConfig(
        parallelism=parallelism,
        failure_strategy=strategy,
        worker_template=worker_template,
        cursor_field=cursor_field,
    )
    return step(name, *dependencies, type=StepType.BATCH_WORKER, batch_config=config, **options)


def template(*steps: StepTemplate, **fields: Any) -> TaskTemplate:
    """A template whose tasks are always their own."""
    identity = {"name": "dynamic", "namespace_name": "test", "version": "1.0.0"}
    unique = {"identity_strategy": IdentityStrategy.ALWAYS_UNIQUE}
    return TaskTemplate(**{**identity, **unique, "steps": steps, **fields})


def batch_template(*, after: Iterable[StepTemplate] = (), **mould_options: Any) -> TaskTemplate:
    """An analyzer ``analyze``, its workers ``part`` and the step ``gather`` after them."""
    return template(
        analyzer("analyze"), mould("part", "analyze", **mould_options), convergence("gather", "part"), *after
    )


def choose(*names: str) -> dict[str, Any]:
    """What a decision returns that goes on with these steps."""
    return {"decision_point_outcome": {"type": "create_steps", "step_names": list(names)}}


def batches(count: int, *, size: int = 10, **fields: Any) -> dict[str, Any]:
    """What an analyzer returns that makes so many batches of equal size."""
    cursors = [
        {"batch_id": f"{n + 1:03d}", "start_cursor": n * size, "end_cursor": (n + 1) * size, "batch_size": size}
        for n in range(count)
    ]
    outcome = {"type": "create_batches", "cursor_configs": cursors, "worker_count": count, "total_items": count * size}
    return {"batch_processing_outcome": {**outcome, **fields}}


def yielded(cursor: Any, items: int, accumulated: Any = None) -> dict[str, Any]:
    """What ``checkpoint_yield`` returns."""
    result = {"type": "checkpoint_yield", "cursor": cursor, "items_processed": items}
    return result if accumulated is None else {**result, "accumulated_results": accumulated}


def success(step: LeasedStep, result: Any = None, metadata: Mapping[str, Any] | None = None) -> StepReport:
    """The report of a handler that succeeded."""
    return StepReport(step.key, success=True, result=serialization.dumps(result or {}), metadata=dict(metadata or {}))


def failure(step: LeasedStep, *, retryable: bool = False, message: str = "no") -> StepReport:
    """The report of a handler that failed."""
    error = {"error_type": "handler_error", "message": message, "retryable": retryable}
    return StepReport(step.key, success=False, error=error)


class Hands:
    """A worker without handlers: it holds what it claims until the test says how it ends.

    Attributes:
        source: where the steps come from.
        held: the steps it holds, by name; all of them are of one task.
    """

    def __init__(self, engine: Engine, source: LocalStepSource) -> None:
        self.source = source
        self._engine = engine
        self.held: dict[str, LeasedStep] = {}

    async def claim(self, limit: int = 1_000) -> set[str]:
        """Claim what is ready; return the names of all that is held."""
        self._hold(await self.source.claim(limit))
        return set(self.held)

    async def report(self, *reports: StepReport, want: int = 1_000) -> set[LeaseKey]:
        """Report ends of attempts in one batch and hold what they freed; return the refused leases."""
        answer = await self.source.report(reports, want)
        for report in reports:
            for name, held in list(self.held.items()):
                if held.key == report.lease:
                    del self.held[name]
        self._hold(answer.leased)
        return {report.lease for report in reports} & answer.refused

    async def complete(self, *names: str, **results: Any) -> set[str]:
        """Let held steps succeed, all in one batch, and claim what is ready; return the names of all that is held.

        Steps without a result of their own stand first.
        """
        ends = {**dict.fromkeys(names), **results}
        assert not await self.report(*(success(self.held[name], result) for name, result in ends.items()))
        return await self.claim()

    async def fail(self, *names: str, retryable: bool = False) -> set[str]:
        """Let held steps fail, all in one batch, and claim what is ready; return the names of all that is held."""
        assert not await self.report(*(failure(self.held[name], retryable=retryable) for name in names))
        return await self.claim()

    async def checkpoint(self, name: str, cursor: Any, items: int, accumulated: Any = None, *, want: int = 1) -> None:
        """Let a held step yield at a checkpoint."""
        result = yielded(cursor, items, accumulated)
        report = success(self.held[name], result, {"checkpoint_yield": True})
        assert not await self.report(report, want=want)

    async def abandon(self, name: str) -> None:
        """Let the lease of a held step run out, and the rescuer find it."""
        store = self._engine.store
        await store.renew_leases(self.source._worker_id, [self.held.pop(name).key], -1)
        rescuer_id = await store.register_worker("rescuer", "host", 1, [])
        rescuer = Rescuer(store, Plans(store), rescuer_id=rescuer_id, interval=60, recorded=lambda _: None)
        await rescuer.rescue()

    def seen(self, name: str) -> dict[str, Any]:
        """The results that a held step sees, by step name."""
        return {name: entry["result"] for name, entry in self.held[name].dependency_results().items()}

    def _hold(self, steps: Iterable[LeasedStep]) -> None:
        self.held |= {leased.name: leased for leased in steps}


@contextlib.asynccontextmanager
async def by_hand(engine: Engine, *callables: str, name: str = "hands") -> AsyncIterator[Hands]:
    """A worker by hand for these callables; ``work`` by default."""
    async with engine.worker_source(list(callables) or ["work"], on_ready=lambda: None, name=name) as source:
        yield Hands(engine, source)


async def task_state(engine: Engine, task: UUID) -> str:
    """The state of a task."""
    return str((await engine.task(task))["status"])


async def verbs(engine: Engine, task: UUID) -> list[tuple[str | None, str, str, str, str | None]]:
    """What people did to a task and its steps as (step, verb, to state, actor, reason), oldest first."""
    return [
        (change["step"], change["verb"], change["to_state"], change["actor"], change["reason"])
        for change in await engine.history(task)
        if change["verb"] is not None
    ]
