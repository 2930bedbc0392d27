"""Parts of a server, as the engine has them: templates, workers, figures, API keys, what happens to a task."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from tasker_core.access import Caller, Permission
from tasker_core.client import AsyncTaskerClient, ConflictError
from tasker_core.client.calls import Call, Request
from tasker_core.client.errors import ResourceNotFoundError
from tasker_core.orchestration import TemplateConflictError, TemplateNotFoundError
from tasker_core.orchestration.template_registry import LATEST, Outcome, Registration
from tasker_core.orchestration.workers import DEFAULT_LIMIT
from tasker_core.serialization import rfc3339
from tasker_core.template import TaskTemplate

Json = dict[str, Any]

T = TypeVar("T")


async def get(
    client: AsyncTaskerClient,
    operation: str,
    path: str,
    parse: Callable[[Any], T],
    query: Mapping[str, Any] | None = None,
) -> T:
    """Return what a server answers to a question; ``operation`` is what errors call it."""
    return await client.follow(Call(operation, Request("GET", path, query or {}, repeatable=True), parse))


async def send(client: AsyncTaskerClient, operation: str, method: str, path: str, body: Json | None = None) -> Any:
    """Let a server change something, and return its answer."""
    return await client.follow(Call(operation, Request(method, path, body=body), lambda answer: answer))


class RemoteTemplates:
    """The templates that are registered at a server; the same verbs as those of a `TemplateRegistry`."""

    def __init__(self, client: AsyncTaskerClient) -> None:
        self._client = client

    async def register(
        self,
        template: TaskTemplate,
        *,
        actor: str | None = None,  # noqa: ARG002 - the server knows whose credential it is
        force: bool = False,
    ) -> Registration:
        """Make a template known under its namespace, name and version."""
        try:
            answer = await self._client.register_template(template.to_dict(), force=force)
        except ConflictError as error:
            raise TemplateConflictError(template) from error
        return Registration(
            template.namespace_name, template.name, template.version, answer["digest"], Outcome(answer["outcome"])
        )

    async def find(self, namespace: str, name: str, version: str | None = None) -> TaskTemplate:
        """Return a template, the newest version unless one is given."""
        wanted = version or LATEST
        try:
            answer = await self._client.get_template(namespace, name, wanted, full=True)
        except ResourceNotFoundError as error:
            raise TemplateNotFoundError(namespace, name, wanted) from error
        return TaskTemplate.from_dict(answer["template"])

    async def list(self, namespaces: Sequence[str] | None = None) -> list[Json]:
        """Return what there is to say about each template, the newest version first."""
        answer = await self._client.list_templates()
        return [row for row in answer["templates"] if namespaces is None or row["namespace"] in namespaces]

    async def delete(self, namespace: str, name: str, version: str) -> None:
        """Forget a template; tasks of it go on."""
        try:
            await self._client.delete_template(namespace, name, version)
        except ResourceNotFoundError as error:
            raise TemplateNotFoundError(namespace, name, version) from error


class RemoteWorkers:
    """The workers that a server knows of."""

    def __init__(self, client: AsyncTaskerClient) -> None:
        self._client = client

    async def list(self, *, include_gone: bool = False, limit: int = DEFAULT_LIMIT) -> list[Json]:
        """Return workers, those seen last first."""
        query = {"include_gone": include_gone, "limit": limit}
        return await get(self._client, "list_workers", "/v1/workers", lambda answer: list(answer["workers"]), query)


class RemoteAnalytics:
    """The figures of a server."""

    def __init__(self, client: AsyncTaskerClient) -> None:
        self._client = client

    async def performance(self, *, hours: int = 24) -> Json:
        """Return how the last hours went."""
        return await get(self._client, "performance", "/v1/analytics/performance", dict, {"hours": hours})

    async def bottlenecks(self, *, limit: int = 10, min_executions: int = 5) -> Json:
        """Return what took longest."""
        query = {"limit": limit, "min_executions": min_executions}
        return await get(self._client, "bottlenecks", "/v1/analytics/bottlenecks", dict, query)


class RemoteKeys:
    """The API keys of a server. Who makes and revokes them is whoever shows the credential."""

    def __init__(self, client: AsyncTaskerClient) -> None:
        self._client = client

    async def create(
        self,
        subject: str,
        permissions: frozenset[Permission],
        *,
        by: Caller,  # noqa: ARG002
        namespaces: frozenset[str] | None = None,
        expires_at: datetime | None = None,
    ) -> Json:
        """Make a key and return it."""
        body = {
            "subject": subject,
            "permissions": sorted(permissions),
            "namespaces": None if namespaces is None else sorted(namespaces),
            "expires_at": None if expires_at is None else rfc3339(expires_at),
        }
        return dict(await send(self._client, "create_key", "POST", "/v1/auth/keys", body))

    async def list(self, *, by: Caller, include_inactive: bool = False) -> list[Json]:  # noqa: ARG002
        """Return keys, newest first."""
        query = {"include_inactive": include_inactive}
        return await get(self._client, "list_keys", "/v1/auth/keys", lambda answer: list(answer["keys"]), query)

    async def revoke(self, key_uuid: UUID, *, by: Caller) -> Json | None:  # noqa: ARG002
        """Revoke a key for good; None if there is none."""
        try:
            return dict(await send(self._client, "revoke_key", "DELETE", f"/v1/auth/keys/{quote(str(key_uuid))}"))
        except ResourceNotFoundError:
            return None


async def changes_at_server(client: AsyncTaskerClient, task_uuid: UUID) -> AsyncIterator[Json]:
    """Yield the changes of a task and its steps, until it is over."""
    async for event in client.events(task_uuid):
        if event.event != "end":
            yield event.data
