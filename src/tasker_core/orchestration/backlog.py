"""How much work waits, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tasker_core.store import Database, Store, backlog
from tasker_core.store.database import PoolFacts
from tasker_core.store.migrate import latest_migration, schema_version

#: Seconds after which a worker that was not seen does not count as live; workers are seen every 10 seconds.
_SILENCE_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The steps of one namespace that may be claimed now.

    Attributes:
        steps: how many; an estimate when tens of thousands wait.
        oldest_seconds: how long the oldest has waited.
        oldest_served_seconds: how long the oldest has waited that a live worker has a handler for; None if there is
            none. What no worker can run says nothing about how well the workers keep up.
    """

    steps: int
    oldest_seconds: float
    oldest_served_seconds: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the whole system stands.

    Attributes:
        active_tasks: tasks that are not over, by namespace and state; an estimate when the queue is long.
        live_workers: workers that are connected.
        pending_dead_letters: dead letters that nobody has closed; no more than 100,000 are counted.
    """

    active_tasks: Mapping[tuple[str, str], int]
    live_workers: int
    pending_dead_letters: int


class Backlog:
    """How much work waits, and for how long. Every look takes bounded time, however much it is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._latest_migration = latest_migration()

    async def waiting(self) -> dict[str, Waiting]:
        """Return what waits in each namespace; namespaces in which nothing waits are left out."""
        return {
            row["namespace"]: Waiting(row["steps"], max(0.0, row["age"]), row["served_age"])
            for row in await backlog.waiting(self._database, _SILENCE_SECONDS)
        }

    async def standing(self) -> Standing:
        """Return how the whole system stands."""
        workers, dead_letters = await backlog.standing(self._database, _SILENCE_SECONDS)
        tasks = await backlog.active_tasks(self._database)
        return Standing({(row["namespace"], row["state"]): row["tasks"] for row in tasks}, workers, dead_letters)

    async def schema_is_current(self) -> bool:
        """Return whether no migration is pending; it is also the cheapest way to see that the database answers."""
        return await schema_version(self._database) == self._latest_migration

    def pool(self) -> PoolFacts:
        """Return how this process's connections are used."""
        return self._database.pool_facts()

    @property
    def _database(self) -> Database:
        return self._store.database
