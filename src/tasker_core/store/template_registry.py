"""Templates by name, as the database has them."""

from collections.abc import Sequence

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_STATEMENTS = queries.load("template_registry")


async def register(
    database: Database,
    identity: tuple[str, str, str],
    *,
    digest: str,
    definition: str,
    actor: str | None,
    replace: bool,
) -> bool | None:
    """Store a template under its namespace, name and version.

    Args:
        database: where.
        identity: namespace, name and version.
        digest: names the content.
        definition: the content, as JSON.
        actor: who does it.
        replace: whether other content may be replaced.

    Returns:
        Whether it is new; False if it replaced other content, None if what was there stayed.
    """
    answer: bool | None = await database.fetch_value(
        _STATEMENTS["register_template"], *identity, digest, definition, actor, replace
    )
    return answer


async def read(database: Database, identity: tuple[str, str, str]) -> tuple[str, str] | None:
    """Return digest and definition of a template, or None if there is none of this namespace, name and version."""
    row = await database.fetch_row(_STATEMENTS["registered_template"], *identity)
    return (row["digest"], row["definition"]) if row else None


async def versions(database: Database, namespace: str, name: str) -> dict[str, str]:
    """Return the digest of each version of a template."""
    rows = await database.fetch(_STATEMENTS["versions"], namespace, name)
    return {row["version"]: row["digest"] for row in rows}


async def list_all(database: Database, namespaces: Sequence[str] | None) -> Sequence[asyncpg.Record]:
    """Return what there is to say about each template, by namespace and name; all namespaces if None."""
    return await database.fetch(_STATEMENTS["list_templates"], namespaces)


async def count(database: Database, namespaces: Sequence[str] | None) -> dict[str, int]:
    """Return how many templates each namespace has that has any; all namespaces if None."""
    rows = await database.fetch(_STATEMENTS["count_templates"], namespaces)
    return {row["namespace"]: row["template_count"] for row in rows}


async def delete(database: Database, identity: tuple[str, str, str]) -> bool:
    """Forget a template; return False if there is none of this namespace, name and version."""
    return bool(await database.fetch_value(_STATEMENTS["delete_template"], *identity))
