"""Numbered migrations: a short Python file under ``versions`` names the files under ``sql`` that it runs.

They are about tables. The functions beside this package (``functions/*.sql``) have no history: their current
text is installed at the end of every upgrade, so a change to one needs a migration, if only an empty one.
"""

from importlib import resources

from alembic import op
from sqlalchemy.engine import Connection
from sqlalchemy.util import await_only


def run_sql(*names: str) -> None:
    """Run files ``sql/NAME.sql`` in the migration's transaction."""
    for name in names:
        _run(op.get_bind(), _text("migrations", "sql", f"{name}.sql"))


def install_functions(connection: Connection) -> None:
    """Replace the schema's functions by the current ones."""
    _run(connection, _text("migrations", "sql", "drop_functions.sql"))
    directory = resources.files("tasker_core.store") / "functions"
    for file in sorted(directory.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            _run(connection, file.read_text("utf-8"))


def _text(*path: str) -> str:
    return resources.files("tasker_core.store").joinpath(*path).read_text("utf-8")


def _run(connection: Connection, script: str) -> None:
    """Run a script whole, by the driver: SQLAlchemy would send it as one prepared statement."""
    driver = connection.connection.driver_connection
    assert driver is not None
    await_only(driver.execute(script))
