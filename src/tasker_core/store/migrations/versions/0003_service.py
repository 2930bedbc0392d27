"""Templates by name, API keys, workers that are not on the database, search."""

from tasker_core.store.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add tables, columns and indexes."""
    run_sql("0003_service")
