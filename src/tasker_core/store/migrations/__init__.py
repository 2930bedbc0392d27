"""Numbered migrations: a short Python file under ``versions`` names the files under ``sql`` that it runs."""

from importlib import resources

from alembic import op
from sqlalchemy.util import await_only


def run_sql(*names: str) -> None:
    """Run files ``sql/NAME.sql`` in the migration's transaction.

    They go to the driver whole, since SQLAlchemy would send each as one prepared statement.
    """
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    for name in names:
        text = resources.files("tasker_core.store.migrations").joinpath("sql", f"{name}.sql").read_text("utf-8")
        await_only(connection.execute(text))
