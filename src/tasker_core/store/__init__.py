"""PostgreSQL, spoken to in lifecycle verbs. All SQL is in the ``.sql`` files of this package."""

from tasker_core.store.database import Database, database_url
from tasker_core.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tasker_core.store.errors import StoreError, StoreUnavailableError
from tasker_core.store.migrate import MigrationStatus, migrate, migration_status
from tasker_core.store.store import (
    AttemptEnd,
    DuplicateIdentityError,
    ExpiredLease,
    GrantedLease,
    NewTask,
    NewTemplate,
    NewTemplateStep,
    RecordAnswer,
    Store,
    StructureChangedError,
    TaskFilter,
)

__all__ = [
    "AttemptEnd",
    "Database",
    "DuplicateIdentityError",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "ExpiredLease",
    "GrantedLease",
    "MigrationStatus",
    "NewTask",
    "NewTemplate",
    "NewTemplateStep",
    "RecordAnswer",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "StructureChangedError",
    "TaskFilter",
    "database_url",
    "migrate",
    "migration_status",
]
