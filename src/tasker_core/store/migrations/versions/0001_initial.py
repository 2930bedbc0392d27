"""The initial schema."""

from tasker_core.store.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    run_sql("0001_tables")
