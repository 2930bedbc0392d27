"""The worker processes that there are."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tasker_core.engine.staleness import silence
from tasker_core.serialization import rfc3339
from tasker_core.store import Store
from tasker_core.store import workers as registered

#: Workers that are listed, unless more are wanted.
DEFAULT_LIMIT: Final = 1_000


class Workers:
    """The worker processes that there are, on the database itself and at servers.

    Args:
        store: where they are registered.
        lease_seconds: how long leases last, which tells live workers from dead ones.
    """

    def __init__(self, store: Store, lease_seconds: float) -> None:
        self._store = store
        self._silence = silence(lease_seconds)

    async def list(
        self,
        namespaces: Sequence[str] | None = None,
        *,
        include_gone: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> list[dict[str, Any]]:
        """Return workers, those seen last first.

        Args:
            namespaces: only those that take steps from nowhere but these; all if None.
            include_gone: whether to return those, too, that stopped or have given no sign of life for a while.
            limit: how many at most.

        Returns:
            For each ``worker_id`` (a UUID), ``name``, ``hostname``, ``pid``, ``namespaces`` (None is everywhere),
            ``callables``, ``concurrency`` (None if it did not say), ``in_flight`` (steps that it holds), ``sdk``,
            ``subject`` (whose credential it has; None on the database itself), ``live``, ``started_at``,
            ``last_seen_at``, ``stopped_at``.
        """
        rows = await registered.workers(
            self._store.database, silence=self._silence, include_gone=include_gone, within=namespaces, limit=limit
        )
        return [_view(dict(row)) for row in rows]


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "worker_id": str(row["worker_uuid"]),
        **{key: row[key] for key in ("name", "hostname", "pid", "namespaces", "callables", "concurrency")},
        **{key: row[key] for key in ("in_flight", "sdk", "subject")},
        "live": row["is_live"],
        "started_at": rfc3339(row["started_at"]),
        "last_seen_at": rfc3339(row["last_seen_at"]),
        "stopped_at": None if row["stopped_at"] is None else rfc3339(row["stopped_at"]),
    }
