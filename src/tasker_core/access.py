"""Who may do what: permissions, roles, and whoever makes a request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


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

#: What each permission allows, in a sentence.
DESCRIPTIONS: Final[Mapping[Permission, str]] = MappingProxyType(
    {
        Permission.TASKS_CREATE: "Create tasks.",
        Permission.TASKS_READ: "Look at a task whose UUID is known, and follow it.",
        Permission.TASKS_LIST: "List, search and count tasks.",
        Permission.TASKS_CANCEL: "Cancel tasks.",
        Permission.TASKS_CONTEXT_READ: "Read the context that a task was created with.",
        Permission.TASKS_OPERATE: "Pause, resume, retry and re-run tasks.",
        Permission.STEPS_READ: "Look at the steps of a task, their results and their history.",
        Permission.STEPS_RESOLVE: "Reset, resolve or complete a step by hand.",
        Permission.DLQ_READ: "Look at dead letters.",
        Permission.DLQ_UPDATE: "Deal with dead letters.",
        Permission.DLQ_STATS: "Count dead letters.",
        Permission.TEMPLATES_READ: "Look at registered templates.",
        Permission.TEMPLATES_VALIDATE: "Have a template checked.",
        Permission.TEMPLATES_REGISTER: "Register templates and take them away.",
        Permission.SYSTEM_CONFIG_READ: "Read the server's configuration, without its secrets.",
        Permission.SYSTEM_HANDLERS_READ: "See which workers there are and which handlers they have.",
        Permission.SYSTEM_ANALYTICS_READ: "Read figures about performance and bottlenecks.",
        Permission.SYSTEM_KEYS_MANAGE: "Make, list and revoke API keys.",
        Permission.WORKER_EXECUTE: "Register as a worker, lease steps and report their results.",
        Permission.WORKER_CONFIG_READ: "Read a worker's configuration, without its secrets.",
        Permission.WORKER_TEMPLATES_READ: "Look at the templates that a worker serves.",
    }
)

#: Longest name, in characters.
_MAX_NAME_LENGTH: Final = 200

#: Grants every permission there is.
SUPERUSER: Final = "*"

_READER: Final = frozenset(
    {
        Permission.TASKS_READ,
        Permission.TASKS_LIST,
        Permission.TASKS_CONTEXT_READ,
        Permission.STEPS_READ,
        Permission.DLQ_READ,
        Permission.DLQ_STATS,
        Permission.TEMPLATES_READ,
        Permission.SYSTEM_HANDLERS_READ,
        Permission.SYSTEM_ANALYTICS_READ,
    }
)

#: Sets of permissions with a name.
ROLES: Final[Mapping[str, frozenset[Permission]]] = MappingProxyType(
    {
        "reader": _READER,
        "submitter": frozenset(
            {
                Permission.TASKS_CREATE,
                Permission.TASKS_READ,
                Permission.TASKS_LIST,
                Permission.TASKS_CANCEL,
                Permission.TASKS_CONTEXT_READ,
                Permission.STEPS_READ,
                Permission.TEMPLATES_READ,
            }
        ),
        "operator": _READER
        | {
            Permission.TASKS_CREATE,
            Permission.TASKS_CANCEL,
            Permission.TASKS_OPERATE,
            Permission.STEPS_RESOLVE,
            Permission.DLQ_UPDATE,
            Permission.TEMPLATES_VALIDATE,
            Permission.SYSTEM_CONFIG_READ,
        },
        "worker": frozenset(
            {Permission.WORKER_EXECUTE, Permission.WORKER_CONFIG_READ, Permission.WORKER_TEMPLATES_READ}
        ),
        "admin": ALL_PERMISSIONS,
    }
)


def _meanings() -> dict[str, frozenset[Permission]]:
    meanings = {str(permission): frozenset({permission}) for permission in Permission}
    for resource in {permission.partition(":")[0] for permission in Permission}:
        meanings[f"{resource}:*"] = frozenset(
            permission for permission in Permission if permission.startswith(f"{resource}:")
        )
    return meanings | {SUPERUSER: ALL_PERMISSIONS}


#: Every text that grants permissions, with what it grants: ``tasks:read``, ``tasks:*``, ``*``.
_MEANINGS: Final = _meanings()


class Grant(NamedTuple):
    """What a list of permissions and roles amounts to.

    Attributes:
        permissions: what is granted.
        unknown: the texts that are neither a permission nor a wildcard, and the names that are no role (as
            ``role:NAME``), sorted.
    """

    permissions: frozenset[Permission]
    unknown: tuple[str, ...]


def granted(permissions: Iterable[str] = (), roles: Iterable[str] = ()) -> Grant:
    """Return what permissions and roles amount to.

    Args:
        permissions: permissions such as ``tasks:read``, all of a resource such as ``tasks:*``, or all, ``*``. They
            are matched exactly: there is no trimming, and capitals count.
        roles: names of `ROLES`.
    """
    wanted, names = set(permissions), set(roles)
    meant = [_MEANINGS[text] for text in wanted & _MEANINGS.keys()]
    meant += [ROLES[name] for name in names & ROLES.keys()]
    unknown = {*(wanted - _MEANINGS.keys()), *(f"role:{name}" for name in names - ROLES.keys())}
    return Grant(frozenset().union(*meant), tuple(sorted(unknown)))


def usable_name(text: str) -> bool:
    """Return whether a text can name whoever makes requests, or a namespace: one line, 1 to 200 characters."""
    return 0 < len(text) <= _MAX_NAME_LENGTH and text.isprintable() and not text.isspace()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request.

    Attributes:
        subject: the name that goes into the history as the actor.
        permissions: what it may do.
        namespaces: where it may do so; everywhere if None, nowhere if empty.
    """

    subject: str
    permissions: frozenset[Permission]
    namespaces: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        """Return whether it has a permission."""
        return permission in self.permissions

    def acting_as(self, given: str | None) -> str:
        """Return the name of whoever acts: that of the credentials; where there are none, the one that is given."""
        return given if given and self is ANONYMOUS else self.subject

    def may_enter(self, namespace: str) -> bool:
        """Return whether a namespace is open to it."""
        return self.namespaces is None or namespace in self.namespaces

    def covers(self, namespaces: Iterable[str] | None) -> bool:
        """Return whether all of these namespaces are open to it; None stands for all that there are."""
        return self.namespaces is None or (namespaces is not None and self.namespaces.issuperset(namespaces))

    def visible(self, wanted: Iterable[str] | None = None) -> Sequence[str] | None:
        """Return the namespaces to look into: those wanted, or else all, as far as they are open to it.

        None means all that there are.
        """
        if self.namespaces is None:
            return None if wanted is None else sorted(set(wanted))
        return sorted(self.namespaces if wanted is None else self.namespaces & set(wanted))


#: Makes the requests where authentication is off.
ANONYMOUS: Final = Caller("anonymous", ALL_PERMISSIONS)
