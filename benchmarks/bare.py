"""The bare SQL loop: the least that any durable queue on this server must do."""

import asyncio
import contextlib
import re
from pathlib import Path

import asyncpg
import uvloop

from benchmarks.measure import MeasurementError, Round, Sizes, Stopwatch

_STEPS_PER_TASK = 4

#: Loops side by side, each with its own connection. Tasker's worker also has two batches under way.
_LOOPS = 2

_, *_parts = re.split(r"^-- name: (\w+)$", Path(__file__).with_suffix(".sql").read_text(), flags=re.MULTILINE)
_SQL = dict(zip(_parts[::2], _parts[1::2], strict=True))


class BareLoop:
    """How many steps a second could PostgreSQL hand out and take back here, if an engine did nothing else?

    As many rows as Tasker has steps, ready from the start: no dependencies, no handlers, no contexts, no results, no
    history. Two loops claim a batch and complete it, one commit for each, as many rows a batch as Tasker's worker runs
    at once.

    * **Run.** From before the first claim until both loops find nothing more to claim.

    Not in the region: the table, its rows and its statistics, the connections, and the warm-up (a batch for each loop).
    """

    def measure(self, database_url: str, sizes: Sizes) -> Round:
        """Warm up and measure one round on an empty database."""
        return uvloop.run(self._measure(database_url, sizes))

    async def _measure(self, database_url: str, sizes: Sizes) -> Round:
        async with contextlib.AsyncExitStack() as opened:
            connections = [await asyncpg.connect(database_url) for _ in range(_LOOPS)]
            for connection in connections:
                opened.push_async_callback(connection.close)
            control = connections[0]
            await control.execute(_SQL["create_table"])
            warm_up_tasks = _LOOPS * sizes.concurrency // _STEPS_PER_TASK
            for tasks in (warm_up_tasks, sizes.tasks):
                await control.execute(_SQL["fill"], tasks, _STEPS_PER_TASK)
                await control.execute(_SQL["analyze"])
                with Stopwatch() as running:
                    await asyncio.gather(*(_drain(connection, sizes.concurrency) for connection in connections))
            steps = sizes.tasks * _STEPS_PER_TASK
            if await control.fetchval(_SQL["count_complete"]) != steps + warm_up_tasks * _STEPS_PER_TASK:
                raise MeasurementError(f"not all of {steps} steps are complete")
        return Round(sizes.tasks, steps, 0.0, running.seconds, running.cpu_seconds)


async def _drain(connection: "asyncpg.Connection[asyncpg.Record]", batch: int) -> None:
    while claimed := await connection.fetch(_SQL["claim"], batch):
        await connection.execute(_SQL["complete"], [row[0] for row in claimed], [row[1] for row in claimed])
