"""The two clients."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from tasker_core.client.base import AsyncClient, SyncClient
from tasker_core.client.endpoints import Endpoints, Id, namespace_events_call, task_events_call, task_page
from tasker_core.client.events import EventStream
from tasker_core.client.responses import ServerEvent, TaskResponse


class TaskerClient(Endpoints, SyncClient):
    """Talks to a Tasker server. Any number of threads may share one.

    Use it as a context manager, or :meth:`close` it. The arguments are those of `AsyncTaskerClient`, too:

    Args:
        initiator: who creates tasks; kept with them.
        source_system: where they are created; kept with them.
        base_url: the server; by default ``TASKER_ORCHESTRATION_URL``, or else ``http://localhost:8080``.
        token: a bearer token; by default ``TASKER_ORCHESTRATION_AUTH_TOKEN``, or else ``TASKER_AUTH_TOKEN``.
        api_key: a key to show instead of a token; by default ``TASKER_API_KEY``.
        api_key_header: the header for the key; by default ``TASKER_API_KEY_HEADER``, or else ``X-API-Key``.
        timeout: seconds to wait for an answer; by default ``TASKER_ORCHESTRATION_TIMEOUT_MS``, or else 30.
        max_retries: most repeats of a request that failed for a reason that may pass. Reading is repeated, and so
            is a creation with an ``idempotency_key``; what must not happen twice only if it was never sent.

    Raises:
        ValueError: a setting has a value that cannot be used.
    """

    def iterate_tasks(self, **filters: Any) -> Iterator[TaskResponse]:
        """Yield all tasks that pass the filters of `list_tasks`, newest first, however many there are."""
        cursor: str | None = ""
        while cursor is not None:
            tasks, cursor = self.follow(task_page(filters, cursor))
            yield from tasks

    def events(self, task_uuid: Id, *, last_event_id: str | None = None) -> Iterator[ServerEvent]:
        """Yield what happens to a task, from its beginning until it is over; the last event is ``end``.

        A stream that breaks is opened again without a gap.

        Args:
            task_uuid: the task.
            last_event_id: the id of the event after which to begin instead.
        """
        return self._listen(EventStream(task_events_call(task_uuid), self._settings, last_event_id))

    def namespace_events(self, namespace: str, *, last_event_id: str | None = None) -> Iterator[ServerEvent]:
        """Yield what happens to the tasks of a namespace from now on, without end. As `events`."""
        return self._listen(EventStream(namespace_events_call(namespace), self._settings, last_event_id))


class AsyncTaskerClient(Endpoints, AsyncClient):
    """The same as `TaskerClient`, for asynchronous programs. It belongs to one event loop.

    Use it as an asynchronous context manager, or :meth:`close` it.
    """

    async def iterate_tasks(self, **filters: Any) -> AsyncIterator[TaskResponse]:
        """Yield all tasks that pass the filters of `list_tasks`, newest first, however many there are."""
        cursor: str | None = ""
        while cursor is not None:
            tasks, cursor = await self.follow(task_page(filters, cursor))
            for task in tasks:
                yield task

    def events(self, task_uuid: Id, *, last_event_id: str | None = None) -> AsyncIterator[ServerEvent]:
        """Yield what happens to a task, from its beginning until it is over; the last event is ``end``.

        A stream that breaks is opened again without a gap.

        Args:
            task_uuid: the task.
            last_event_id: the id of the event after which to begin instead.
        """
        return self._listen(EventStream(task_events_call(task_uuid), self._settings, last_event_id))

    def namespace_events(self, namespace: str, *, last_event_id: str | None = None) -> AsyncIterator[ServerEvent]:
        """Yield what happens to the tasks of a namespace from now on, without end. As `events`."""
        return self._listen(EventStream(namespace_events_call(namespace), self._settings, last_event_id))
