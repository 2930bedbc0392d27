"""API keys in the database: by what they hash to, never as they are."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_API_KEYS = queries.load("api_keys")


async def insert_key(
    database: Database,
    *,
    key_hash: bytes,
    hint: str,
    subject: str,
    permissions: Sequence[str],
    namespaces: Sequence[str] | None,
    expires_at: datetime | None,
    created_by: str,
) -> asyncpg.Record:
    """Store a key and return its row."""
    row = await database.fetch_row(
        _API_KEYS["insert_key"], key_hash, hint, subject, permissions, namespaces, expires_at, created_by
    )
    assert row is not None
    return row


async def list_keys(
    database: Database, *, include_inactive: bool, within: Sequence[str] | None
) -> Sequence[asyncpg.Record]:
    """Return keys, newest first.

    Args:
        database: where to look.
        include_inactive: whether to return those, too, that are revoked or expired.
        within: only those whose namespaces are all among these; all keys if None.
    """
    return await database.fetch(_API_KEYS["list_keys"], include_inactive, within)


async def revoke_key(
    database: Database, key_uuid: UUID, revoked_by: str, *, within: Sequence[str] | None
) -> asyncpg.Record | None:
    """Revoke a key and return its row, or None if there is no such key whose namespaces are all among ``within``."""
    return await database.fetch_row(_API_KEYS["revoke_key"], key_uuid, revoked_by, within)


async def valid_key(database: Database, key_hash: bytes) -> asyncpg.Record | None:
    """Return a key that is neither revoked nor expired, or None."""
    return await database.fetch_row(_API_KEYS["valid_key"], key_hash)


async def key_used(database: Database, key_uuid: UUID) -> None:
    """Note that a key was used."""
    await database.fetch(_API_KEYS["key_used"], key_uuid)
