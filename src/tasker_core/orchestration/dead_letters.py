"""Dead letters: what needs a person, and what becomes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tasker_core import serialization
from tasker_core.engine.operations import IllegalMoveError
from tasker_core.orchestration import views
from tasker_core.orchestration.operations import DeadLetterNotFoundError, Operations
from tasker_core.states import TaskState
from tasker_core.store import Store
from tasker_core.store import dead_letters as noted
from tasker_core.store.frozen_task import Audit


@dataclass(frozen=True, slots=True)
class _Action:
    """What resolving an entry does: the status it leaves behind, in words for history."""

    status: str
    reason: str


ACTIONS = {
    "retry": _Action("manually_resolved", "retried from the dead letters"),
    "resolve": _Action("manually_resolved", "resolved from the dead letters"),
    "discard": _Action("permanently_failed", "discarded from the dead letters"),
    "cancel": _Action("cancelled", "cancelled from the dead letters"),
    "none": _Action("manually_resolved", ""),
}


async def find_entries(
    store: Store,
    *,
    status: str | None = None,
    reason: str | None = None,
    namespaces: Sequence[str] | None = None,
    before: UUID | None = None,
    offset: int = 0,
    limit: int,
) -> list[dict[str, Any]]:
    """Return entries, newest first.

    Args:
        store: where they are.
        status: only those of this status.
        reason: only those of this reason.
        namespaces: only those of tasks in these namespaces.
        before: the last entry of the page before.
        offset: how many to leave out.
        limit: how many at most.
    """
    rows = await noted.find(
        store.database, status=status, reason=reason, namespaces=namespaces, before=before, offset=offset, limit=limit
    )
    return [views.dead_letter_view(row) for row in rows]


async def find_entry(store: Store, entry_uuid: UUID, namespaces: Sequence[str] | None = None) -> dict[str, Any]:
    """Return an entry.

    Raises:
        DeadLetterNotFoundError: there is no such entry, or its task is in none of the namespaces.
    """
    rows = await noted.find(store.database, entry_uuid=entry_uuid, namespaces=namespaces, limit=1)
    if not rows:
        raise DeadLetterNotFoundError(entry_uuid)
    return views.dead_letter_view(rows[0])


async def newest_entry(store: Store, task_uuid: UUID, namespaces: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Return the newest entry of a task; None if it has none, or is in none of the namespaces."""
    rows = await noted.find(store.database, task_uuid=task_uuid, namespaces=namespaces, limit=1)
    return views.dead_letter_view(rows[0]) if rows else None


async def numbers(store: Store, namespaces: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the numbers of entries by reason."""
    return [views.dead_letter_view(row) for row in await noted.count(store.database, namespaces)]


async def to_investigate(store: Store, *, namespaces: Sequence[str] | None = None, limit: int) -> list[dict[str, Any]]:
    """Return the open entries, the most pressing ones first."""
    return [views.dead_letter_view(row) for row in await noted.to_investigate(store.database, namespaces, limit)]


async def update_entry(
    store: Store,
    entry_uuid: UUID,
    *,
    status: str | None = None,
    actor: str | None = None,
    notes: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Note what is known about an entry, without doing anything about its task. What is None stays as it is.

    Args:
        store: where it is.
        entry_uuid: the entry.
        status: what became of it; closes the entry if it is open.
        actor: who found that out.
        notes: what to remember.
        metadata: takes the place of the metadata that the entry has.

    Raises:
        IllegalMoveError: the entry is closed, and would be opened again.
    """
    encoded = None if metadata is None else serialization.dumps(metadata)
    if not await noted.update(
        store.database, entry_uuid, status=status, resolved_by=actor, notes=notes, metadata=encoded
    ):
        raise IllegalMoveError(f"dead letter {entry_uuid} is closed and cannot be opened again")


class DeadLetters:
    """Lists dead letters and resolves them."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations

    async def entries(
        self, *, status: str | None, reason: str | None, before: UUID | None, limit: int
    ) -> list[dict[str, Any]]:
        """Return entries, newest first."""
        return await find_entries(self._store, status=status, reason=reason, before=before, limit=limit)

    async def entry(self, entry_uuid: UUID) -> dict[str, Any]:
        """Return one entry."""
        return await find_entry(self._store, entry_uuid)

    async def stats(self) -> list[dict[str, Any]]:
        """Return numbers by reason."""
        return await numbers(self._store)

    async def resolve(
        self, entry_uuid: UUID, *, action: str, actor: str, notes: str | None, dry_run: bool
    ) -> dict[str, Any]:
        """Close an entry and do what it takes. The verb that does so closes the entry in its own transaction."""
        chosen = ACTIONS.get(action)
        if chosen is None:
            raise ValueError(f"unknown action {action!r}; there are {', '.join(ACTIONS)}")
        entry = await self.entry(entry_uuid)
        if entry["resolution_status"] != "pending":
            raise _closed_already(entry)
        audit = Audit(action, actor, notes or chosen.reason)
        change = await self._act(entry, action, audit, dry_run=dry_run)
        if not dry_run:
            # Still open if there was nothing to do, or nothing was wanted.
            closed = await self._store.resolve_dead_letter(entry_uuid, chosen.status, actor, notes)
            entry = await self.entry(entry_uuid)
            if change is None and not closed:
                raise _closed_already(entry)
        return entry | {"change": change}

    async def _act(self, entry: dict[str, Any], action: str, audit: Audit, *, dry_run: bool) -> dict[str, Any] | None:
        task_uuid, step = UUID(entry["task_uuid"]), entry["step"]
        match action:
            case "retry" if step is not None:
                return await self._operations.reset_step(task_uuid, step, audit, dry_run=dry_run)
            case "retry":
                return await self._operations.retry_task(task_uuid, audit, dry_run=dry_run)
            case "resolve" if step is not None:
                return await self._operations.resolve_step(task_uuid, step, audit, dry_run=dry_run)
            case "resolve":
                state = TaskState.RESOLVED_MANUALLY
                return await self._operations.close_task(
                    task_uuid, audit, state=state, dead_letters="manually_resolved", dry_run=dry_run
                )
            case "discard":
                state = TaskState.ERROR
                return await self._operations.close_task(
                    task_uuid, audit, state=state, dead_letters="permanently_failed", dry_run=dry_run
                )
            case "cancel":
                return await self._operations.cancel_task(task_uuid, audit, dry_run=dry_run)
        return None


def _closed_already(entry: dict[str, Any]) -> IllegalMoveError:
    return IllegalMoveError(f"dead letter {entry['dlq_entry_uuid']} is {entry['resolution_status']} already")
