"""Steps that appear at run time, checkpoints, operators' verbs, identity, dead letters, fair claims."""

from tasker_core.store.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add tables and columns."""
    run_sql("0002_dynamic_work")
