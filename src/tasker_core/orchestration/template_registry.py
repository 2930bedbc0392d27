"""Templates that tasks may be created from by name."""

import re
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

from tasker_core import serialization
from tasker_core.store import Store
from tasker_core.store import template_registry as registered
from tasker_core.template import TaskTemplate

#: Stands for the newest version.
LATEST: Final = "latest"

#: Seconds for which it is not asked again which versions of a template there are.
FRESH_SECONDS: Final = 1.0

#: Templates, and names of templates, that are kept in memory.
_MOST_KEPT: Final = 1_000

#: Numbers with dots, as in ``1.10.0``, and what may follow them: a pre-release (``-rc.1``) and a build (``+linux``).
_VERSION: Final = re.compile(r"([0-9]{1,100}(?:\.[0-9]{1,100})*)(?:-([^+]+))?(?:\+.*)?", re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]{1,100}")

#: PostgreSQL takes neither.
_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class TemplateNotFoundError(LookupError):
    """No template is registered under this namespace, name and version.

    Attributes:
        namespace: the namespace.
        name: the name.
        version: the version, or ``latest``.
    """

    def __init__(self, namespace: str, name: str, version: str) -> None:
        identity = _NOT_STORABLE.sub("\N{REPLACEMENT CHARACTER}", f"{namespace}/{name}/{version}")
        super().__init__(f"Template not found: {identity}")
        self.namespace = namespace
        self.name = name
        self.version = version


class TemplateConflictError(ValueError):
    """The version of a template is registered with other content."""

    def __init__(self, template: TaskTemplate) -> None:
        super().__init__(
            f"Template {template.identity} is registered with other content: "
            "change its version, or register it with force"
        )


class Outcome(StrEnum):
    """What registering a template came to: it is new, it was there already, or it took the place of other content."""

    REGISTERED = "registered"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"


class Registration(NamedTuple):
    """That a template is registered."""

    namespace: str
    name: str
    version: str
    digest: str
    outcome: Outcome


def version_key(version: str) -> tuple[Any, ...]:
    """Return what versions are sorted by, the newest last.

    Numbers compare as numbers, a pre-release comes before its release, as semantic versioning has it. Texts that are
    no such versions come before all others, in the order of text.
    """
    parts = _VERSION.fullmatch(version)
    if parts is None:
        return 0, (), (), version
    numbers = tuple(int(number) for number in parts[1].split("."))
    while numbers and numbers[-1] == 0:  # 1.0 is 1.0.0
        numbers = numbers[:-1]
    before_release = (1,) if parts[2] is None else (0, *(_identifier_key(part) for part in parts[2].split(".")))
    return 1, numbers, before_release, version


def _identifier_key(identifier: str) -> tuple[int, int, str]:
    return (0, int(identifier), "") if _NUMBER.fullmatch(identifier) else (1, 0, identifier)


class TemplateRegistry:
    """Templates that tasks may be created from by name.

    Tasks keep the content that they were created with; what happens here does not concern them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_digest: _Recent[str, TaskTemplate] = _Recent(_MOST_KEPT)
        self._versions: _Recent[tuple[str, str], _Versions] = _Recent(_MOST_KEPT)
        self._changes = 0

    async def register(self, template: TaskTemplate, *, actor: str | None = None, force: bool = False) -> Registration:
        """Make a template known under its namespace, name and version. What is known already stays as it is.

        Args:
            template: a valid template.
            actor: who does it.
            force: whether it may replace other content of the same version. Tasks that exist keep that.

        Raises:
            TemplateConflictError: the version has other content, and that may not be replaced.
        """
        identity = template.namespace_name, template.name, template.version
        digest = template.digest
        definition = serialization.dumps(template.to_dict())
        database = self._store.database
        while True:
            is_new = await registered.register(
                database, identity, digest=digest, definition=definition, actor=actor, replace=force
            )
            if is_new is not None:
                outcome = Outcome.REGISTERED if is_new else Outcome.REPLACED
                break
            found = await registered.read(database, identity)
            if found is not None and _same_content(found, digest):
                outcome = Outcome.UNCHANGED
                break
            if found is not None and not force:
                raise TemplateConflictError(template)
            # Somebody removed or replaced it in between.
        self._forget(template.namespace_name, template.name)
        self._by_digest.put(digest, template)
        return Registration(*identity, digest, outcome)

    async def find(self, namespace: str, name: str, version: str | None = None) -> TaskTemplate:
        """Return a template.

        What this process registers is found at once, what others register within a second.

        Args:
            namespace: the namespace.
            name: the name.
            version: the exact version; None or ``latest`` for the newest one, see :func:`version_key`.

        Raises:
            TemplateNotFoundError: there is no such template.
        """
        wanted = version or LATEST
        if not _storable(namespace, name, wanted):
            raise TemplateNotFoundError(namespace, name, wanted)
        versions = await self._versions_of(namespace, name)
        chosen = versions.newest if wanted == LATEST else wanted
        digest = versions.digests.get(chosen)
        if digest is None:
            raise TemplateNotFoundError(namespace, name, wanted)
        template = self._by_digest.get(digest)
        return await self._read(namespace, name, chosen) if template is None else template

    async def delete(self, namespace: str, name: str, version: str) -> None:
        """Forget a template; tasks of it go on.

        Raises:
            TemplateNotFoundError: there is no such template.
        """
        identity = namespace, name, version
        if not (_storable(*identity) and await registered.delete(self._store.database, identity)):
            raise TemplateNotFoundError(namespace, name, version)
        self._forget(namespace, name)

    async def list(self, namespaces: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return what there is to say about each template of some namespaces, or of all, the newest version first.

        Keys: ``namespace``, ``name``, ``version``, ``description``, ``step_count``, ``registered_at``,
        ``registered_by``.
        """
        if namespaces is not None:
            namespaces = [namespace for namespace in namespaces if _storable(namespace)]
        rows = [dict(row) for row in await registered.list_all(self._store.database, namespaces)]
        rows.sort(key=lambda row: version_key(row["version"]), reverse=True)
        rows.sort(key=lambda row: (row["namespace"], row["name"]))
        return [row | {"registered_at": serialization.rfc3339(row["registered_at"])} for row in rows]

    async def counts(self, namespaces: Sequence[str] | None = None) -> dict[str, int]:
        """Return how many templates each namespace has, of those that have any."""
        return await registered.count(self._store.database, namespaces)

    async def _versions_of(self, namespace: str, name: str) -> "_Versions":
        """Return all versions of a template, as they were a second ago at the latest."""
        known = self._versions.get((namespace, name))
        if known is not None and time.monotonic() - known.asked_at < FRESH_SECONDS:
            return known
        asked_at, changes = time.monotonic(), self._changes
        digests = await registered.versions(self._store.database, namespace, name)
        versions = _Versions(asked_at, digests, max(digests, key=version_key, default=LATEST))
        # What was read before a change of this process must not hide that.
        if changes == self._changes:
            self._versions.put((namespace, name), versions)
        return versions

    async def _read(self, namespace: str, name: str, version: str) -> TaskTemplate:
        found = await registered.read(self._store.database, (namespace, name, version))
        if found is None:
            raise TemplateNotFoundError(namespace, name, version)
        digest, definition = found
        template = TaskTemplate.from_dict(serialization.loads(definition))
        self._by_digest.put(digest, template)
        return template

    def _forget(self, namespace: str, name: str) -> None:
        self._changes += 1
        self._versions.drop((namespace, name))


class _Versions(NamedTuple):
    """The versions of a template, with the digests of their content, as they were at a time of the monotonic clock."""

    asked_at: float
    digests: dict[str, str]
    newest: str


class _Recent(Generic[_Key, _Value]):
    """What was used last, up to a number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def drop(self, key: _Key) -> None:
        self._entries.pop(key, None)


def _storable(*texts: str) -> bool:
    return not any(_NOT_STORABLE.search(text) for text in texts)


def _same_content(found: tuple[str, str], digest: str) -> bool:
    """Return whether what is stored has this digest."""
    stored_digest, definition = found
    # A release of Tasker may add keys to the canonical form, which changes the digests of unchanged content.
    return stored_digest == digest or TaskTemplate.from_dict(serialization.loads(definition)).digest == digest
