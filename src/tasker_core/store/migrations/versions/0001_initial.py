"""The initial schema."""

from tasker_core.store.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    run_sql("0001_tables", "0001_claim_steps", "0001_create_tasks", "0001_record_attempts")
