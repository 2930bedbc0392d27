"""Everybody at once: what must hold whatever happens in between, where no model can say what happens first."""

import asyncio
import contextlib
from random import Random
from typing import Any
from uuid import UUID

from tests.integration.engine_histories import History
from tests.integration.engine_machine import Worlds, batches_outcome, choice_of
from tests.integration.engine_model import Shape
from tests.integration.support import check_invariants

from tasker_core import serialization
from tasker_core.engine.operations import IllegalMoveError
from tasker_core.orchestration import TaskRequest
from tasker_core.orchestration.local_source import LocalStepSource
from tasker_core.orchestration.operations import StepNotFoundError
from tasker_core.step_source import LeasedStep, StepReport
from tasker_core.template import StepType


class Crowd:
    """Workers, rescuers and an operator who do not wait for each other."""

    def __init__(self, worlds: Worlds, history: History, random: Random) -> None:
        self.worlds = worlds
        self.template = history.template()
        self.shape = Shape(self.template)
        self.random = random
        self.tasks = list[UUID]()
        self.faults = True

    def check(self) -> None:
        """Let them all at it; then, without further faults, every task comes to its end."""
        try:
            self.worlds.run(self._play())
        finally:
            self.worlds.run(self.worlds.clear())

    async def _play(self) -> None:
        self.tasks = await self.worlds.engine.create_tasks(self.template, [TaskRequest() for _ in range(3)])
        await asyncio.gather(
            *(self._work(source, 12) for source in self.worlds.sources.values()), self._operate(12), self._rescue(12)
        )
        self.faults = False
        await check_invariants(self.worlds.url)
        for verb in ("resume", "retry"):
            for task in self.tasks:
                with contextlib.suppress(IllegalMoveError):
                    await getattr(self.worlds.engine, f"{verb}_task")(task, actor="somebody")
            await self._expire("true")
            await self.worlds.rescuer.rescue()
            await asyncio.gather(*(self._work(source, None) for source in self.worlds.sources.values()))
            # What one worker waited for may have come from the other.
            await self._work(self.worlds.sources["both"], None)
        for task in self.tasks:
            state = (await self.worlds.engine.task(task))["status"]
            assert state in ("complete", "cancelled", "resolved_manually"), state
        await check_invariants(self.worlds.url)

    async def _work(self, source: LocalStepSource, rounds: int | None) -> None:
        """Claim and report for some rounds, or until nothing is left to claim."""
        held: list[LeasedStep] = list(await source.recover())
        while rounds is None or rounds > 0:
            held += await source.claim(self.random.randint(1, 6))
            if not held and rounds is None:
                return
            self.random.shuffle(held)
            now, held = held[:3], held[3:]
            # Two reports on their way at once, as a worker has them.
            reports = [self._report(step) for step in now]
            answers = await asyncio.gather(
                source.report(reports[:1], self.random.randint(0, 2)),
                source.report(reports[1:], self.random.randint(0, 2)),
            )
            held += [step for answer in answers for step in answer.leased]
            rounds = rounds and rounds - 1

    def _report(self, step: LeasedStep) -> StepReport:
        said = self.random.choice(("success", "success", "success", "retryable", "permanent", "yield"))
        if self.faults and said in ("retryable", "permanent"):
            error = {"error_type": "Failure", "message": "m", "retryable": said == "retryable"}
            return StepReport(step.key, success=False, error=error)
        if self.faults and said == "yield":
            cursor = (step.saved_checkpoint() or {}).get("cursor") or 0
            result = {"type": "checkpoint_yield", "cursor": cursor + 1, "items_processed": cursor + 1}
            return StepReport(
                step.key, success=True, result=serialization.dumps(result), metadata={"checkpoint_yield": True}
            )
        return StepReport(step.key, success=True, result=serialization.dumps(self._result(step.definition["name"])))

    def _result(self, name: str) -> dict[str, Any]:
        match self.shape.steps[name].type:
            case StepType.BATCHABLE:
                return {
                    "batch_processing_outcome": batches_outcome(
                        self.shape, name, self.random.randrange(256), wrong=False
                    )
                }
            case StepType.DECISION if self.faults:
                direct = [step for step in self.shape.dependents(name) if step not in self.shape.moulds]
                return choice_of(self.random.sample(direct, self.random.randint(0, len(direct))))
            case StepType.DECISION:
                return {"decision_point_outcome": {"type": "no_branches"}}
        return {"serial": 0}

    async def _operate(self, rounds: int) -> None:
        for _ in range(rounds):
            engine, task = self.random.choice(self.worlds.engines), self.random.choice(self.tasks)
            verb = self.random.choice(("pause", "resume", "resume", "retry", "rerun", "reset", "resolve", "complete"))
            who: dict[str, Any] = {"actor": "somebody", "reason": "a test"}
            step = self.random.choice(await engine.steps(task))
            # No longer the step's state, maybe, by the time the verb gets there.
            with contextlib.suppress(IllegalMoveError, StepNotFoundError):
                if verb == "complete":
                    result = self._result(step["template_step"])
                    await engine.complete_step(task, step["name"], result, **who)
                elif verb in ("pause", "resume", "retry"):
                    await getattr(engine, f"{verb}_task")(task, **who)
                elif verb == "rerun":
                    await engine.rerun_task(task, step["name"], **who)
                else:
                    await getattr(engine, f"{verb}_step")(task, step["name"], **who)

    async def _rescue(self, rounds: int) -> None:
        for _ in range(rounds):
            await self._expire("lease_id % 5 = 0")
            await self.worlds.rescuer.rescue()

    async def _expire(self, which: str) -> None:
        await self.worlds.look.execute(
            f"UPDATE tasker.step_queue SET wake_at = leased_at WHERE status = 'leased' AND {which}"
        )
