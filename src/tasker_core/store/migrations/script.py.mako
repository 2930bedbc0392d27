"""${message}."""

from tasker_core.store.migrations import run_sql

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply."""
    run_sql("${up_revision}_NAME")
