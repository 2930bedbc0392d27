"""What both clients are made with, and how a method that is written once serves both."""

import asyncio
import functools
import inspect
import time
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from tasker_core.client.calls import Attempts, Call, Plan, options
from tasker_core.client.events import EventStream
from tasker_core.client.responses import ServerEvent
from tasker_core.client.settings import ClientSettings

P = ParamSpec("P")
T = TypeVar("T")


class Client:
    """What both clients are made with; see `tasker_core.client.TaskerClient`."""

    def __init__(
        self,
        initiator: str = "tasker-core-python",
        source_system: str = "tasker-core",
        *,
        base_url: str | None = None,
        token: str | None = None,
        api_key: str | None = None,
        api_key_header: str | None = None,
        timeout: float | None = None,
        max_retries: int = 3,
    ) -> None:
        self.initiator = initiator
        self.source_system = source_system
        self._settings = ClientSettings.of(
            base_url=base_url,
            token=token,
            api_key=api_key,
            api_key_header=api_key_header,
            timeout=timeout,
            max_retries=max_retries,
        )
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    @property
    def credentials(self) -> Mapping[str, str]:
        """The headers that go with every request, for connections of another kind to the same server."""
        return self._settings.headers

    @property
    def base_url(self) -> str:
        """The server's URL."""
        return self._settings.base_url


class SyncClient(Client):
    """Carries plans out at once. Any number of threads may share one."""

    def _open(self) -> None:
        self._http = httpx.Client(**options(self._settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def follow(self, plan: Plan[T]) -> T:
        """Carry out a plan and return its result."""
        if isinstance(plan, Call):
            return self._perform(plan)
        answer = None
        while True:
            try:
                call = plan.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = self._perform(call)

    def _perform(self, call: Call[T]) -> T:
        attempts = Attempts(call, self._settings)
        while True:
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = self._http.request(**attempts.arguments())
            except httpx.HTTPError as error:
                outcome = error
            pause = attempts.pause_after(outcome)
            if pause is None:
                return call.result(outcome)
            time.sleep(pause)

    def _listen(self, stream: EventStream) -> Iterator[ServerEvent]:
        while not stream.over:
            outcome: httpx.Response | httpx.HTTPError
            try:
                with self._http.stream(**stream.arguments()) as response:
                    outcome = response
                    if response.is_success:
                        stream.opened()
                        for chunk in response.iter_bytes():
                            yield from stream.feed(chunk)
                    else:
                        response.read()
            except httpx.HTTPError as error:
                outcome = error
            time.sleep(stream.pause_after(outcome))


class AsyncClient(Client):
    """Carries plans out when awaited. It belongs to one event loop."""

    def _open(self) -> None:
        self._http = httpx.AsyncClient(**options(self._settings))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def follow(self, plan: Plan[T]) -> T:
        """Carry out a plan and return its result."""
        if isinstance(plan, Call):
            return await self._perform(plan)
        answer = None
        while True:
            try:
                call = plan.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await self._perform(call)

    async def _perform(self, call: Call[T]) -> T:
        attempts = Attempts(call, self._settings)
        while True:
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = await self._http.request(**attempts.arguments())
            except httpx.HTTPError as error:
                outcome = error
            pause = attempts.pause_after(outcome)
            if pause is None:
                return call.result(outcome)
            await asyncio.sleep(pause)

    async def _listen(self, stream: EventStream) -> AsyncIterator[ServerEvent]:
        while not stream.over:
            outcome: httpx.Response | httpx.HTTPError
            try:
                async with self._http.stream(**stream.arguments()) as response:
                    outcome = response
                    if response.is_success:
                        stream.opened()
                        async for chunk in response.aiter_bytes():
                            for event in stream.feed(chunk):
                                yield event
                    else:
                        await response.aread()
            except httpx.HTTPError as error:
                outcome = error
            await asyncio.sleep(stream.pause_after(outcome))


class endpoint(Generic[P, T]):  # noqa: N801 - used as a decorator
    """Turns a method that returns a plan into one that carries it out.

    In a `SyncClient` the method returns the plan's result, in an `AsyncClient` an awaitable of it.
    """

    def __init__(self, plan: Callable[Concatenate[Any, P], Plan[T]]) -> None:
        def called(client: SyncClient, *args: P.args, **kwargs: P.kwargs) -> T:
            return client.follow(plan(client, *args, **kwargs))

        async def awaited(client: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> T:
            return await client.follow(plan(client, *args, **kwargs))

        self.__doc__ = plan.__doc__
        self._called: Any = _looking_like(plan, called)
        self._awaited: Any = _looking_like(plan, awaited)

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: SyncClient, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: SyncClient | AsyncClient | None, owner: type) -> Callable[..., Any]:
        """Return the method, bound to a client if there is one."""
        method = self._awaited if issubclass(owner, AsyncClient) else self._called
        bound: Callable[..., Any] = method if client is None else method.__get__(client, owner)
        return bound


def _looking_like(plan: Callable[..., Any], method: Any) -> Any:
    """Return a method with a plan's name, documentation and arguments, and the type of the plan's result."""
    functools.update_wrapper(method, plan)
    declared = inspect.signature(plan)
    parts = typing.get_args(declared.return_annotation)
    result = parts[0] if typing.get_origin(declared.return_annotation) is Call else parts[-1]
    method.__signature__ = declared.replace(return_annotation=result)
    return method
