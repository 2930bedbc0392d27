"""API keys: made, listed, revoked, and found by what they hash to."""

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import asyncpg
import structlog

from tasker_core import serialization
from tasker_core.access import Caller, Permission, granted
from tasker_core.store import Store, StoreError
from tasker_core.store import api_keys as store

#: Seconds for which a key that was found valid is not looked up again. So long may a revocation take that another
#: server carried out.
VALID_SECONDS: Final = 10.0

#: Seconds for which a key that was found not to be valid is not looked up again.
INVALID_SECONDS: Final = 2.0

#: Keys that are remembered, of either kind.
_MOST_REMEMBERED: Final = 10_000

#: ``tk_`` and 256 random bits.
_FORM: Final = re.compile(r"tk_[A-Za-z0-9_-]{43}")

#: Characters of a key that are kept for people to tell keys apart: 30 bits of it.
_HINT_LENGTH: Final = 8

log = structlog.get_logger("tasker.api_keys")


_Value = TypeVar("_Value")


class BeyondOwnRightsError(Exception):
    """Somebody wanted to grant more than they have; the message says what."""


class ApiKeys:
    """Makes, lists and revokes keys, and finds out whose a key is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._valid = _Memory[Caller](VALID_SECONDS)
        self._invalid = _Memory[None](INVALID_SECONDS)
        self._searches: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def create(
        self,
        subject: str,
        permissions: frozenset[Permission],
        *,
        by: Caller,
        namespaces: frozenset[str] | None = None,
        expires_at: datetime | None = None,
    ) -> dict[str, Any]:
        """Make a key and return it. This is the only time that the key itself can be seen.

        Args:
            subject: whom the key is for; the actor of what is done with it.
            permissions: what it allows.
            by: who makes it.
            namespaces: where it allows that; everywhere if None.
            expires_at: when it ends; never if None.

        Returns:
            What `list` returns of it, and ``key``.

        Raises:
            BeyondOwnRightsError: ``by`` has not all that the key would have.
        """
        _check_grantable(by, permissions, namespaces)
        key = new_key()
        row = await store.insert_key(
            self._store.database,
            key_hash=_hash(key),
            hint=key[:_HINT_LENGTH],
            subject=subject,
            permissions=sorted(permissions),
            namespaces=None if namespaces is None else sorted(namespaces),
            expires_at=expires_at,
            created_by=by.subject,
        )
        log.info("api_key_created", key_uuid=str(row["key_uuid"]), subject=subject, by=by.subject)
        return _view(row) | {"key": key}

    async def list(self, *, by: Caller, include_inactive: bool = False) -> list[dict[str, Any]]:
        """Return keys, newest first; only those whose namespaces are all open to whoever asks.

        Args:
            by: who asks.
            include_inactive: whether to return those, too, that are revoked or expired.
        """
        within = by.visible()
        rows = await store.list_keys(self._store.database, include_inactive=include_inactive, within=within)
        return [_view(row) for row in rows]

    async def revoke(self, key_uuid: UUID, *, by: Caller) -> dict[str, Any] | None:
        """Revoke a key for good, and return what `list` returns of it.

        This process refuses it at once, others within `VALID_SECONDS`. None if there is no such key, or not for
        whoever asks.
        """
        row = await store.revoke_key(self._store.database, key_uuid, by.subject, within=by.visible())
        if row is None:
            return None
        self._valid.forget()
        # What was looked up before may come back after, and must not be believed.
        self._searches.clear()
        log.info("api_key_revoked", key_uuid=str(key_uuid), subject=row["subject"], by=by.subject)
        return _view(row)

    async def caller(self, key: str) -> Caller | None:
        """Return whose key this is, or None if it is none that is valid.

        Raises:
            StoreUnavailableError: the database cannot be asked.
        """
        if _FORM.fullmatch(key) is None:
            return None
        key_hash = _hash(key)
        known = self._valid.get(key_hash)
        if known is not None or key_hash in self._invalid:
            return known
        search = self._searches.get(key_hash)
        if search is None:
            search = self._searches[key_hash] = asyncio.create_task(self._search(key_hash))
        # Others may wait for the same search, so one that gives up does not end it.
        return await asyncio.shield(search)

    async def settle(self) -> None:
        """Wait until everything is noted that was to be noted on the side."""
        await asyncio.gather(*self._notes)

    async def _search(self, key_hash: bytes) -> Caller | None:
        this = asyncio.current_task()
        try:
            row = await store.valid_key(self._store.database, key_hash)
            current = self._searches.get(key_hash) is this
        finally:
            if self._searches.get(key_hash) is this:
                del self._searches[key_hash]
        if row is None:
            if current:
                self._invalid.keep(key_hash, None)
            return None
        caller = _caller(row)
        if current:
            self._valid.keep(key_hash, caller, at_most=row["seconds_left"])
        if row["use_due"]:
            note = asyncio.create_task(self._note_use(row["key_uuid"]))
            self._notes.add(note)
            note.add_done_callback(self._notes.discard)
        return caller

    async def _note_use(self, key_uuid: UUID) -> None:
        with contextlib.suppress(StoreError):
            await store.key_used(self._store.database, key_uuid)


def new_key() -> str:
    """Return a new random key."""
    return f"tk_{secrets.token_urlsafe(32)}"


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _check_grantable(by: Caller, permissions: frozenset[Permission], namespaces: frozenset[str] | None) -> None:
    beyond = sorted(permissions - by.permissions)
    if beyond:
        raise BeyondOwnRightsError(f"Nobody can grant permissions that they do not have: {', '.join(beyond)}")
    if not by.covers(namespaces):
        foreign = ", ".join(sorted(name for name in namespaces or () if not by.may_enter(name))) or "all of them"
        raise BeyondOwnRightsError(f"Nobody can grant access to namespaces that they cannot enter: {foreign}")


def _caller(row: asyncpg.Record) -> Caller:
    permissions, unknown = granted(row["permissions"])
    if unknown:  # a later version made the key; what that version alone can allow is not allowed here
        log.warning("api_key_with_unknown_permissions", key_uuid=str(row["key_uuid"]), unknown=list(unknown))
    namespaces = row["namespaces"]
    return Caller(row["subject"], permissions, None if namespaces is None else frozenset(namespaces))


def _view(row: asyncpg.Record) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    return {
        "key_uuid": str(row["key_uuid"]),
        "hint": row["hint"],
        "subject": row["subject"],
        "status": "revoked" if row["revoked_at"] else "expired" if row["expired"] else "active",
        "permissions": row["permissions"],
        "namespaces": row["namespaces"],
        "created_by": row["created_by"],
        "revoked_by": row["revoked_by"],
        **{name: None if row[name] is None else serialization.rfc3339(row[name]) for name in times},
    }


class _Memory(Generic[_Value]):
    """Remembers a bounded number of values for a while; the oldest make room.

    Args:
        seconds: how long each is remembered.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[bytes, tuple[float, _Value]] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        until, _ = self._kept.get(key, (0.0, None))
        return time.monotonic() < until

    def get(self, key: bytes) -> _Value | None:
        """Return what is remembered, or None."""
        return self._kept[key][1] if key in self else None

    def keep(self, key: bytes, value: _Value, *, at_most: float | None = None) -> None:
        """Remember a value; ``at_most`` is a shorter time than the usual, in seconds."""
        seconds = self._seconds if at_most is None else min(self._seconds, at_most)
        self._kept[key] = (time.monotonic() + seconds, value)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_REMEMBERED:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Forget everything."""
        self._kept.clear()
