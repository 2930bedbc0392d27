"""Whether this process can serve, found out in bounded time."""

import asyncio
import time
from typing import Any, Final

import tasker_core
from tasker_core.orchestration import Engine
from tasker_core.server.admission import LOOK_SECONDS, Admission
from tasker_core.store import StoreError, StoreUnavailableError

#: Seconds that a check may take.
_CHECK_SECONDS: Final = 2.0

#: Looks at the backlog that may fail before the process counts as stuck.
_MISSED_LOOKS: Final = 3

#: Shares from which on something counts as degraded, and as unhealthy.
_DEGRADED: Final = 0.8
_UNHEALTHY: Final = 0.95

_Check = dict[str, Any]


class Health:
    """The checks of one application.

    There is one pool of connections, so ``web_database`` and ``orchestration_database`` are one check under both names.

    Args:
        engine: whose database is asked.
        admission: its looks at the backlog are the pulse of the process.
        stopping: set when the server is about to stop.
        environment: name of the environment, for display.
    """

    def __init__(
        self, engine: Engine, admission: Admission, stopping: asyncio.Event, environment: str | None = None
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._stopping = stopping
        self._environment = environment
        self._question: asyncio.Task[tuple[bool, bool]] | None = None

    async def stop(self) -> None:
        """End a check that is under way."""
        if self._question is not None:
            self._question.cancel()
            await asyncio.gather(self._question, return_exceptions=True)

    async def readiness(self) -> dict[str, _Check]:
        """Return the checks that say whether requests can be served."""
        return {**await self._database(), "orchestration_system": self._system()}

    async def details(self) -> dict[str, _Check]:
        """Return all checks."""
        return {**await self.readiness(), "pool_utilization": self._pool(), "queue_depth": self._queue()}

    def info(self) -> dict[str, Any]:
        """Return what runs here."""
        pool = self._engine.backlog.pool()
        return {
            "version": tasker_core.__version__,
            "environment": self._environment,
            "operational_state": self._state(),
            "web_database_pool_size": pool.maximum,
            "orchestration_database_pool_size": pool.maximum,
            "pool_utilization": {
                "tasker_pool": {
                    "active_connections": pool.active,
                    "idle_connections": pool.idle,
                    "max_connections": pool.maximum,
                    "utilization_percent": round(100 * pool.utilization, 2),
                    "total_acquires": pool.acquires,
                    "slow_acquires": pool.slow_acquires,
                    "acquire_errors": pool.failed_acquires,
                    "average_acquire_time_ms": round(1000 * pool.total_wait / max(1, pool.acquires), 3),
                    "max_acquire_time_ms": round(1000 * pool.longest_wait, 3),
                }
            },
        }

    async def _database(self) -> dict[str, _Check]:
        """Ask the database; those who ask at the same time share the question."""
        started = time.monotonic()
        if self._question is None or self._question.done():
            self._question = asyncio.create_task(self._ask())
        question = self._question
        await asyncio.wait({question}, timeout=_CHECK_SECONDS)
        if question.done() and not question.cancelled():
            answers, current = question.result()
            problem = None if answers else "The database cannot be reached"
        else:
            question.cancel()
            answers, current = False, False
            problem = f"The database did not answer within {_CHECK_SECONDS:g} seconds"
        database = _check("healthy" if answers else "unhealthy", problem, started)
        if not answers:
            schema = _check("unknown", problem, started)
        elif current:
            schema = _check("healthy", None, started)
        else:
            schema = _check("unhealthy", "The database's schema is not the one that this version works with", started)
        return {"web_database": database, "orchestration_database": database, "schema": schema}

    async def _ask(self) -> tuple[bool, bool]:
        """Return whether the database answers, and whether its schema is the one that this version works with."""
        try:
            return True, await self._engine.backlog.schema_is_current()
        except StoreUnavailableError:
            return False, False
        except StoreError:
            return True, False

    def _state(self) -> str:
        if self._stopping.is_set():
            return "GracefulShutdown"
        return "Startup" if self._admission.seconds_since_look is None else "Normal"

    def _system(self) -> _Check:
        started = time.monotonic()
        state, age = self._state(), self._admission.seconds_since_look
        beats = age is not None and age < _MISSED_LOOKS * LOOK_SECONDS + _CHECK_SECONDS
        message = f"Operational state: {state}"
        if state == "Normal" and not beats:
            message += f"; the backlog was last seen {age:.0f} seconds ago"
        return _check("healthy" if state == "Normal" and beats else "unhealthy", message, started)

    def _pool(self) -> _Check:
        started = time.monotonic()
        pool = self._engine.backlog.pool()
        message = f"{pool.active} of {pool.maximum} connections are in use"
        return _check(_by_share(pool.utilization, _DEGRADED, _UNHEALTHY), message, started)

    def _queue(self) -> _Check:
        started = time.monotonic()
        waiting, limit = self._admission.waiting, self._admission.limits.max_queue_depth
        if waiting is None:
            return _check("unknown", "The backlog has not been seen lately", started)
        steps = sum(one.steps for one in waiting.values())
        share = 0.0 if limit is None else steps / max(1, limit)
        return _check(_by_share(share, _DEGRADED, 1.0), f"{steps} steps wait to be run", started)


def all_healthy(checks: dict[str, _Check]) -> bool:
    """Return whether all checks are healthy."""
    return all(check["status"] == "healthy" for check in checks.values())


def _by_share(share: float, degraded: float, unhealthy: float) -> str:
    return "unhealthy" if share > unhealthy else "degraded" if share > degraded else "healthy"


def _check(status: str, message: str | None, started: float) -> _Check:
    return {"status": status, "message": message, "duration_ms": round(1000 * (time.monotonic() - started))}
