"""The operators' verbs. Each is one transaction: freeze the task, decide, change it, note who did it and why."""

import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from tasker_core.engine import expansion, operations
from tasker_core.engine.expansion import InvalidOutcomeError, Structure
from tasker_core.engine.operations import IllegalMoveError, Step
from tasker_core.engine.planner import Plan
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.structures import structure_from
from tasker_core.states import StepState, TaskState
from tasker_core.step_source import LeaseKey
from tasker_core.store import Store
from tasker_core.store.frozen_task import Audit, FrozenStep, FrozenTask, ReopenedBatch, StepMove, frozen_task
from tasker_core.template.findings import did_you_mean


class TaskNotFoundError(LookupError):
    """No task has this UUID."""

    def __init__(self, task_uuid: UUID) -> None:
        super().__init__(f"there is no task {task_uuid}")


class StepNotFoundError(LookupError):
    """A task has no step of this name."""

    def __init__(self, task_uuid: UUID, name: str, known: Iterable[str] = ()) -> None:
        hint = did_you_mean(name, list(known))
        super().__init__(f"task {task_uuid} has no step '{name}'" + (f"; {hint}" if hint else ""))


class DeadLetterNotFoundError(LookupError):
    """No dead letter has this UUID."""

    def __init__(self, entry_uuid: UUID) -> None:
        super().__init__(f"there is no dead letter {entry_uuid}")


class _UndoneError(Exception):
    """Ends a transaction whose changes were only to be seen."""


class Operation:
    """One verb at work on one frozen task."""

    def __init__(self, frozen: FrozenTask, plan: Plan, audit: Audit, *, dry_run: bool) -> None:
        self.frozen = frozen
        self.plan = plan
        self.audit = audit
        self.dry_run = dry_run
        self.state = TaskState(frozen.state)
        self.steps = [Step(s.ordinal, s.template_ordinal, s.name, StepState(s.state)) for s in frozen.steps]
        self._rows = {row.ordinal: row for row in frozen.steps}
        self._moves: list[StepMove] = []
        self._removed: list[Step] = []
        self._reopened = False
        self.answer: dict[str, Any] = {}

    def step(self, name: str) -> Step:
        """Return a step by name.

        Raises:
            StepNotFoundError: the task has no such step.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise StepNotFoundError(self.frozen.task_uuid, name, [step.name for step in self.steps])

    def row(self, step: Step) -> FrozenStep:
        """Return a step as the store knows it."""
        return self._rows[step.ordinal]

    async def structure(self) -> Structure:
        """Return which steps of the template the task has."""
        return structure_from(self.plan, await self.frozen.structure(self.plan.decisions))

    async def cancel(self, steps: Iterable[Step]) -> None:
        """End these steps."""
        moves = [StepMove(self.row(step), StepState.CANCELLED) for step in steps]
        self._moves += moves
        await self.frozen.move_steps(moves, self.audit)

    async def restart(
        self,
        restarted: Collection[int],
        *,
        removed: frozenset[int] = frozenset(),
        removed_moulds: frozenset[int] = frozenset(),
        clear_checkpoints: bool = False,
    ) -> None:
        """Let steps start afresh, and others cease to exist."""
        free_slots = {batch.mould: batch.free_slots for batch in self.frozen.batches}
        plan = operations.restart(
            self.plan,
            await self.structure(),
            self.steps,
            restarted,
            free_slots,
            removed=removed,
            removed_moulds=removed_moulds,
        )
        if plan.removed or plan.removed_moulds:
            self._removed += [step for step in self.steps if step.ordinal in plan.removed]
            await self.frozen.remove_steps(list(plan.removed), list(plan.removed_moulds), self.audit)
        moves = [
            StepMove(self._rows[ordinal], StepState.PENDING if unmet else StepState.ENQUEUED, unmet)
            for ordinal, unmet in plan.unmet.items()
        ]
        self._moves += moves
        await self.frozen.move_steps(moves, self.audit, clear_checkpoints=clear_checkpoints)
        for batch in _reopened_batches(self.steps, plan.unmet):
            await self.frozen.reopen_batch(batch)

    async def reopen(self) -> None:
        """Take back that the task was closed in a state that its steps do not imply."""
        if self.frozen.closed_as is not None:
            await self.frozen.close(None)
            self._reopened = True

    async def finish(self, *, dead_letters: str | None = None, all_of_task: bool = False) -> None:
        """Note in history what happened, close the dead letters that it settles, and make the answer.

        Args:
            dead_letters: the status that they get; None closes none.
            all_of_task: whether all dead letters of the task are settled, and not only those of the steps that moved.
        """
        state = await self.frozen.add_transition(self.audit)
        moved = [move.step.ordinal for move in self._moves] + [step.ordinal for step in self._removed]
        if dead_letters is not None:
            await self.frozen.resolve_dead_letters(dead_letters, self.audit, ordinals=None if all_of_task else moved)
        if self._reopened:
            # What ended the task had closed the dead letters of failures that are still there.
            failed = {step.ordinal for step in self.steps if step.state is StepState.ERROR} - set(moved)
            await self.frozen.add_dead_letters(sorted(failed))
        self.answer = self._answer(changed=True, to_state=state)
        if self.dry_run:
            raise _UndoneError

    def nothing_to_do(self) -> None:
        """Answer that everything is as it was wanted."""
        self.answer = self._answer(changed=False, to_state=self.state)

    def moved(self, step: Step, to_state: StepState) -> None:
        """Note for the answer that a step was put into another state."""
        self._moves.append(StepMove(self.row(step), to_state))

    def _answer(self, *, changed: bool, to_state: str) -> dict[str, Any]:
        return {
            "task_uuid": str(self.frozen.task_uuid),
            "verb": self.audit.verb,
            "changed": changed,
            "dry_run": self.dry_run,
            "from_state": str(self.state),
            "to_state": str(to_state),
            "actor": self.audit.actor,
            "reason": self.audit.reason,
            "steps": [
                {"step": move.step.name, "from_state": move.step.state, "to_state": str(move.to_state)}
                for move in self._moves
                if move.step.state != move.to_state
            ],
            "removed": [step.name for step in self._removed],
        }


def _reopened_batches(steps: Sequence[Step], unmet: Mapping[int, int]) -> list[ReopenedBatch]:
    satisfied = (StepState.COMPLETE, StepState.RESOLVED_MANUALLY)
    by_mould: dict[int, list[Step]] = {}
    for step in steps:
        if step.is_batch_worker and step.ordinal in unmet:
            by_mould.setdefault(step.template_ordinal, []).append(step)
    return [
        ReopenedBatch(
            mould,
            done=sum(worker.state in satisfied for worker in workers),
            released=sum(unmet[worker.ordinal] == 0 for worker in workers),
            next_ordinal=min((worker.ordinal for worker in workers if unmet[worker.ordinal]), default=None),
        )
        for mould, workers in by_mould.items()
    ]


class Operations:
    """The verbs. All of them return what they did (see :meth:`Engine.cancel_task`) and raise the same errors."""

    def __init__(self, store: Store, plans: Plans) -> None:
        self._store = store
        self._plans = plans

    async def cancel_task(self, task_uuid: UUID, audit: Audit, *, dry_run: bool = False) -> dict[str, Any]:
        """End a task and all its steps that are not done; handlers that run are told to stop."""
        async with self._operation(task_uuid, audit, dry_run=dry_run) as operation:
            if operation.state is TaskState.CANCELLED:
                operation.nothing_to_do()
                return operation.answer
            await operation.cancel(operations.steps_to_cancel(operation.state, operation.steps))
            await operation.frozen.close(TaskState.CANCELLED)
            await operation.finish(dead_letters="cancelled", all_of_task=True)
        return operation.answer

    async def close_task(
        self,
        task_uuid: UUID,
        audit: Audit,
        *,
        state: TaskState,
        dead_letters: str | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """End a task as ``error`` or ``resolved_manually``; failed steps stay failed, the others are cancelled.

        A task that a policy ended as ``error`` may still be taken for resolved.
        """
        async with self._operation(task_uuid, audit, dry_run=dry_run) as operation:
            if operation.state is state:
                operation.nothing_to_do()
                return operation.answer
            if operation.state is not TaskState.ERROR:
                operations.require_active(operation.state, f"put into {state}")
            failed = StepState.ERROR
            await operation.cancel(step for step in operations.unfinished(operation.steps) if step.state is not failed)
            await operation.frozen.close(state)
            await operation.finish(dead_letters=dead_letters, all_of_task=True)
        return operation.answer

    async def pause_task(self, task_uuid: UUID, audit: Audit) -> dict[str, Any]:
        """Let no further step of a task be claimed; what runs goes on to its end."""
        async with self._operation(task_uuid, audit) as operation:
            operations.require_active(operation.state, "paused")
            if operation.frozen.is_paused:
                operation.nothing_to_do()
                return operation.answer
            await operation.frozen.pause(audit)
            await operation.finish()
        return operation.answer

    async def resume_task(self, task_uuid: UUID, audit: Audit) -> dict[str, Any]:
        """Let a paused task go on; one that ended meanwhile is only no longer paused."""
        async with self._operation(task_uuid, audit) as operation:
            if not operation.frozen.is_paused:
                operation.nothing_to_do()
                return operation.answer
            await operation.frozen.resume()
            await operation.finish()
        return operation.answer

    async def retry_task(self, task_uuid: UUID, audit: Audit, *, dry_run: bool = False) -> dict[str, Any]:
        """Let all failed steps of a task start afresh, with all their attempts."""
        async with self._operation(task_uuid, audit, dry_run=dry_run) as operation:
            restarted = operations.steps_to_retry(operation.state, operation.steps)
            await operation.reopen()
            await operation.restart(restarted)
            await operation.finish(dead_letters="manually_resolved")
        return operation.answer

    async def rerun_task(self, task_uuid: UUID, step: str, audit: Audit, *, dry_run: bool = False) -> dict[str, Any]:
        """Run a finished or failed task again from a step on; what is not downstream of it is kept."""
        async with self._operation(task_uuid, audit, dry_run=dry_run) as operation:
            restarted, removed, moulds = operations.rerun(
                operation.plan, await operation.structure(), operation.state, operation.steps, operation.step(step)
            )
            await operation.reopen()
            await operation.frozen.count_rerun()
            await operation.restart(restarted, removed=removed, removed_moulds=moulds, clear_checkpoints=True)
            await operation.finish(dead_letters="manually_resolved")
        return operation.answer

    async def reset_step(self, task_uuid: UUID, step: str, audit: Audit, *, dry_run: bool = False) -> dict[str, Any]:
        """Let a failed step start afresh, with all its attempts."""
        async with self._operation(task_uuid, audit, dry_run=dry_run) as operation:
            found = operation.step(step)
            restarted = operations.steps_to_reset(operation.state, operation.steps, found)
            await operation.reopen()
            await operation.restart(restarted)
            await operation.finish(dead_letters="manually_resolved")
        return operation.answer

    async def resolve_step(self, task_uuid: UUID, step: str, audit: Audit, *, dry_run: bool = False) -> dict[str, Any]:
        """Take a step for done without a result; the steps after it go on."""
        async with self._operation(task_uuid, audit, dry_run=dry_run) as operation:
            found = operation.step(step)
            if found.state is StepState.RESOLVED_MANUALLY:
                operation.nothing_to_do()
                return operation.answer
            operations.require_endable(operation.state, found, "resolved")
            await self._end_step(operation, found, StepState.RESOLVED_MANUALLY)
        return operation.answer

    async def complete_step(
        self,
        task_uuid: UUID,
        step: str,
        result: dict[str, Any],
        audit: Audit,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Give a step its result by hand; the steps after it go on with it."""
        async with self._operation(task_uuid, audit) as operation:
            found = operation.step(step)
            operations.require_endable(operation.state, found, "completed")
            await self._end_step(
                operation,
                found,
                StepState.COMPLETE,
                result=result,
                metadata={
                    **(metadata or {}),
                    "manually_completed": True,
                    "completed_by": audit.actor,
                    "completion_reason": audit.reason,
                },
            )
        return operation.answer

    async def _end_step(
        self,
        operation: Operation,
        step: Step,
        state: StepState,
        *,
        result: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        revived = operations.steps_to_revive(operation.state, operation.steps, step)
        await operation.reopen()
        if revived:
            await operation.restart(revived)
        expanded = None
        if operation.plan.steps[step.template_ordinal].decides:
            try:
                expanded = expansion.expand(operation.plan, await operation.structure(), step.ordinal, result)
            except InvalidOutcomeError as error:
                raise IllegalMoveError(str(error)) from error
        lease = LeaseKey(operation.frozen.task_uuid, step.ordinal, 0)
        await operation.frozen.end_step(
            operation.row(step),
            state,
            operation.audit,
            result=result,
            metadata=metadata,
            expansion=expansion.as_json(lease, expanded) if expanded is not None else None,
        )
        operation.moved(step, state)
        await operation.finish(dead_letters="manually_resolved")

    @contextlib.asynccontextmanager
    async def _operation(self, task_uuid: UUID, audit: Audit, *, dry_run: bool = False) -> AsyncIterator[Operation]:
        # First, since it may need a connection: whoever holds one and waits for another can wait for ever.
        template_id = await self._store.template_of_task(task_uuid)
        if template_id is None:
            raise TaskNotFoundError(task_uuid)
        plan = await self._plans.get(template_id)
        with contextlib.suppress(_UndoneError):
            async with frozen_task(self._store.database, task_uuid) as frozen:
                if frozen is None:
                    raise TaskNotFoundError(task_uuid)
                yield Operation(frozen, plan, audit, dry_run=dry_run)
