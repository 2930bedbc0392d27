"""Threads for handlers that are plain functions."""

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from tasker_core.step_source import StepReport

_Token = TypeVar("_Token")

Work = Callable[[], StepReport]


class HandlerThreads(Generic[_Token]):
    """Runs work on up to ``limit`` threads and hands results to the event loop in batches.

    The standard executor wakes the loop once for each result; under load that costs more than the handlers.

    Args:
        limit: most threads at once. They start when first needed.
        wake: schedules a call of :meth:`take` on the loop; called from handler threads.

    The threads are daemons, so a handler that never returns does not keep the process from ending.
    """

    def __init__(self, limit: int, wake: Callable[[], object]) -> None:
        self._limit = limit
        self._wake = wake
        self._work: SimpleQueue[tuple[_Token, Work] | None] = SimpleQueue()
        self._done: deque[tuple[_Token, StepReport]] = deque()
        self._woken = False
        self._started = 0
        self._busy = 0

    def submit(self, token: _Token, work: Work) -> None:
        """Run ``work`` on a thread; its result comes back beside ``token``.

        The caller keeps to the limit; beyond it, work waits for a free thread.
        """
        self._busy += 1
        self._work.put((token, work))
        if self._started < min(self._busy, self._limit):
            self._started += 1
            threading.Thread(target=self._serve, name=f"tasker-handler-{self._started}", daemon=True).start()

    def take(self) -> list[tuple[_Token, StepReport]]:
        """Return what is done. Called on the loop after ``wake``."""
        self._woken = False  # first, so that a result added from here on wakes the loop again
        taken = []
        while self._done:
            taken.append(self._done.popleft())
        self._busy -= len(taken)
        return taken

    def stop(self) -> None:
        """Let idle threads end; busy ones end after their work."""
        for _ in range(self._started):
            self._work.put(None)

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            token, work = item
            self._done.append((token, work()))
            if not self._woken:
                self._woken = True
                self._wake()
