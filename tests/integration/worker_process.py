"""A worker in a process of its own: ``python -m tests.integration.worker_process URL LOG LEASE_SECONDS``.

Appends ``STEP_UUID ATTEMPT PID`` to LOG for every execution. The step that ``hang`` in the task's context names says
``started`` and hangs on its first attempt. The process ends when standard input does, so that it cannot outlive the
test.
"""

import asyncio
import os
import sys
from pathlib import Path

import structlog

from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine
from tasker_core.step_handler.functional import step_handler
from tasker_core.step_worker import StepWorker
from tasker_core.types import StepContext


async def main(url: str, log: Path, lease_seconds: float) -> None:
    # Standard output carries signals to the test.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # One small write in append mode is atomic, so processes can share the file.
    executions = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @step_handler("work")
    async def work(context: StepContext) -> dict[str, int]:
        attempt = context.retry_count + 1
        os.write(executions, f"{context.step_uuid} {attempt} {os.getpid()}\n".encode())
        if context.get_input("hang") == context.task_sequence_step.workflow_step.name and attempt == 1:
            print("started", flush=True)
            await asyncio.Event().wait()
        return {"n": len(context.get_dependency_result_keys()), "attempt": attempt}

    registry = HandlerRegistry()
    registry.register("work", work)
    async with (
        Engine(url, lease_seconds=lease_seconds) as engine,
        engine.worker_source(
            ["work"], on_ready=lambda: worker.wake(), on_cancelled=lambda: worker.check_leases()
        ) as source,
    ):
        worker = StepWorker(source, registry)
        running = asyncio.create_task(worker.run())
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        worker.stop()
        await running
    os.close(executions)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
