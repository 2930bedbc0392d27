"""Keeps leases alive from a thread of its own, so that a handler that blocks the event loop keeps its lease."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable

import structlog

from tasker_core.step_source import LeaseKey, Renew, StepSource, WaitingStepSource

#: Seconds between looks at what is running, where renewals wait. A step that two looks find is watched.
_LOOK_SECONDS = 0.5

log = structlog.get_logger("tasker.worker")


class LeaseKeeper:
    """Renews the leases of running steps at a third of the lease's time.

    Where renewals wait for losses, one is always under way, for the steps that have run for a moment.

    Args:
        source: where the leases come from.
        running: returns the leases to keep; called from the keeper's thread.
        lost: called with leases that turned out to be lost, from the keeper's thread.
    """

    def __init__(
        self,
        source: StepSource,
        running: Callable[[], Iterable[LeaseKey]],
        lost: Callable[[frozenset[LeaseKey]], object],
    ) -> None:
        self._source = source
        self._running = running
        self._lost = lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: asyncio.Event | None = None
        self._stopped = False
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._keep()), name="tasker-leases", daemon=True)

    def start(self) -> None:
        """Start renewing."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Stop renewing and wait for the thread."""
        self._stopped = True
        self.renew_now()
        self._thread.join()

    def renew_now(self) -> None:
        """Renew at once, to learn of leases that were lost."""
        assert self._loop is not None
        assert self._due is not None
        with contextlib.suppress(RuntimeError):  # its loop is closed already
            self._loop.call_soon_threadsafe(self._due.set)

    async def _keep(self) -> None:
        self._loop, self._due = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        interval = self._source.lease_seconds / 3
        while not self._stopped:
            try:
                async with self._source.heartbeats() as renew:
                    if isinstance(self._source, WaitingStepSource):
                        await self._watch(renew, look=min(_LOOK_SECONDS, interval / 2))
                    else:
                        while not await self._pause(interval):
                            self._tell(await renew(list(self._running())))
            except Exception as error:  # noqa: BLE001 - whatever it is, the next heartbeat may do better
                log.warning("heartbeat_failed", reason=str(error))
                await self._pause(min(interval, 1.0))

    async def _watch(self, renew: Renew, look: float) -> None:
        async def renew_and_tell(leases: frozenset[LeaseKey]) -> None:
            self._tell(await renew(sorted(leases)))

        watched = before = frozenset[LeaseKey]()
        waiting = asyncio.create_task(renew_and_tell(watched))
        try:
            # The pause bounds how often leases are renewed, however soon the answers come.
            while not await self._pause(look):
                running = frozenset(self._running())
                steady, before = running & before, running
                if waiting.done():
                    waiting.result()
                elif steady <= watched:
                    continue
                await _ended(waiting)
                watched = steady
                waiting = asyncio.create_task(renew_and_tell(watched))
        finally:
            await _ended(waiting)

    def _tell(self, lost: frozenset[LeaseKey]) -> None:
        if lost:
            self._lost(lost)

    async def _pause(self, seconds: float) -> bool:
        """Wait until it is time or renewal is asked for; return whether the keeper is stopped."""
        assert self._due is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._due.wait(), seconds)
        self._due.clear()
        return self._stopped


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
