"""Who may do what: permissions, roles, and whoever makes a request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What a credential may allow. The first seventeen are the reference system's; the others came with new routes."""

    TASKS_CREATE = "tasks:create"
    TASKS_READ = "tasks:read"
    TASKS_LIST = "tasks:list"
    TASKS_CANCEL = "tasks:cancel"
    TASKS_CONTEXT_READ = "tasks:context_read"
    STEPS_READ = "steps:read"
    STEPS_RESOLVE = "steps:resolve"
    DLQ_READ = "dlq:read"
    DLQ_UPDATE = "dlq:update"
    DLQ_STATS = "dlq:stats"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_VALIDATE = "templates:validate"
    SYSTEM_CONFIG_READ = "system:config_read"
    SYSTEM_HANDLERS_READ = "system:handlers_read"
    SYSTEM_ANALYTICS_READ = "system:analytics_read"
    WORKER_CONFIG_READ = "worker:config_read"
    WORKER_TEMPLATES_READ = "worker:templates_read"
    #: Pause, resume, retry and re-run tasks.
    TASKS_OPERATE = "tasks:operate"
    TEMPLATES_REGISTER = "templates:register"
    #: Register as a worker, lease steps and report them.
    WORKER_EXECUTE = "worker:execute"
    SYSTEM_KEYS_MANAGE = "system:keys_manage"


ALL_PERMISSIONS: Final = frozenset(Permission)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request.

    Attributes:
        subject: the name that goes into the history as the actor.
        permissions: what it may do.
        namespaces: where it may do so; everywhere if None.
    """

    subject: str
    permissions: frozenset[Permission]
    namespaces: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        """Return whether it has a permission."""
        return permission in self.permissions

    def may_enter(self, namespace: str) -> bool:
        """Return whether a namespace is open to it."""
        return self.namespaces is None or namespace in self.namespaces

    def visible(self, wanted: Iterable[str] | None = None) -> Sequence[str] | None:
        """Return the namespaces to look into: those wanted, or else all, as far as they are open to it.

        None means all that there are.
        """
        if self.namespaces is None:
            return None if wanted is None else sorted(set(wanted))
        return sorted(self.namespaces if wanted is None else self.namespaces & set(wanted))


#: Makes the requests where authentication is off.
ANONYMOUS: Final = Caller("anonymous", ALL_PERMISSIONS)
