"""State changes as they happen, in an order that can be resumed.

Every change has a position: the time at which it happened, and what orders changes of one instant. A change is told
once nothing can appear before it any more, so whoever names the last position that he has seen misses nothing and
sees nothing twice, whichever process he asks next.
"""

import asyncio
import bisect
import contextlib
import functools
import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from tasker_core import serialization
from tasker_core.orchestration import views
from tasker_core.orchestration.operations import TaskNotFoundError
from tasker_core.states import TaskState
from tasker_core.store import Store, StoreUnavailableError, feed

#: Seconds between two looks for changes, while anybody listens.
POLL_SECONDS: Final = 0.5

#: Changes that are read at once.
_PAGE: Final = 2_000

#: Changes that are kept for everybody; who is further behind reads from the database.
_KEPT: Final = 10_000

#: The stretch of time that is searched at once for what happened long ago.
_FIRST_STRETCH: Final = timedelta(minutes=1)
_LONGEST_STRETCH: Final = timedelta(days=30)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION: Final = re.compile(r"(\d{1,17})-([0-3])-(\d{1,18})")

#: Kinds of changes; see Position.
_ENDED, _READY, _BEGAN, _OF_TASK = range(4)

#: No change has a higher number.
_LAST_NUMBER: Final = 10**18 - 1

log = structlog.get_logger("tasker.feed")


class Position(NamedTuple):
    """The place of a change among all others.

    Attributes:
        microseconds: when it happened, since 1970.
        kind: 0 the end of an attempt or what was done to a step, 1 a step became ready for the first time, 2 an attempt
            began, 3 a change of the task's state. In one instant they are told in this order.
        number: orders changes of one kind.
    """

    microseconds: int
    kind: int
    number: int

    def __str__(self) -> str:
        return f"{self.microseconds}-{self.kind}-{self.number}"

    @property
    def time(self) -> datetime:
        """When it is."""
        return _EPOCH + timedelta(microseconds=self.microseconds)

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that a text stands for.

        Raises:
            ValueError: it is the text of no position.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError("not the id of an event")
        return cls(*map(int, found.groups()))

    @classmethod
    def before(cls, time: datetime) -> "Position":
        """Return the position that comes before all changes at a time."""
        return cls((time - _EPOCH) // timedelta(microseconds=1), 0, 0)


@dataclass(frozen=True)
class Change:
    """One change of the state of a task or of one of its steps.

    Attributes:
        position: its place among all changes.
        task_uuid: the task.
        namespace: of the task.
        name: of the task.
        details: the change as `Engine.history` tells it.
    """

    position: Position
    task_uuid: UUID
    namespace: str
    name: str
    details: Callable[[], dict[str, Any]]

    @property
    def is_of_step(self) -> bool:
        """Whether it is a step's; otherwise it is the task's own."""
        return self.position.kind != _OF_TASK

    @functools.cached_property
    def text(self) -> str:
        """The change as JSON: as `Engine.history` tells it, with what the task is."""
        identity = {"task_uuid": str(self.task_uuid), "namespace": self.namespace, "name": self.name}
        return serialization.dumps({**identity, **self.details()})


@dataclass(frozen=True, slots=True)
class News:
    """Changes, and how far they reach: who has seen them goes on after ``position``.

    ``over`` is the state in which the task ended, once its last change was told.
    """

    changes: Sequence[Change]
    position: Position
    over: TaskState | None = None


class _Silence:
    """How long there was nothing to tell."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self._since = self._clock()

    def break_(self) -> None:
        self._since = self._clock()

    @property
    def left(self) -> float:
        """Seconds until it is too long; never negative."""
        return max(0.0, self._since + self._patience - self._clock())


class _Window:
    """The latest changes of all tasks: all those after ``start`` up to ``end``."""

    def __init__(self, end: Position) -> None:
        self.start = self.end = end
        self._changes: list[Change] = []

    def add(self, changes: Sequence[Change], end: Position) -> None:
        self._changes += changes
        self.end = end
        surplus = len(self._changes) - _KEPT
        if surplus > 0:
            self.start = self._changes[surplus - 1].position
            del self._changes[:surplus]

    def after(self, position: Position) -> tuple[Sequence[Change], Position]:
        """Return the next changes after a position, and how far they reach."""
        first = bisect.bisect_right(self._changes, position, key=lambda change: change.position)
        changes = self._changes[first : first + _PAGE]
        if first + _PAGE < len(self._changes):
            return changes, changes[-1].position
        return changes, max(position, self.end)


class Feed:
    """State changes as they happen, in an order that can be resumed.

    However many listen, one loop looks for changes; it runs while anybody listens. A listener takes changes at his own
    pace: those that he has not taken yet are read from the database when he wants them, so a slow one costs nothing and
    delays nobody. An outage of the database only delays what there is to tell.
    """

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._listeners: Counter[UUID | None] = Counter()
        self._looking: asyncio.Task[None] | None = None
        self._next_look = asyncio.Event()
        self._horizon: datetime | None = None
        self._window: _Window | None = None
        self._marks: dict[UUID, str] = {}

    async def now(self) -> Position:
        """Return the position of the present, on the database's clock."""
        return Position.before(await feed.clock(self._database))

    async def identity(self, task_uuid: UUID) -> tuple[str, str]:
        """Return the namespace and the name of a task.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        row = await feed.task_identity(self._database, task_uuid)
        if row is None:
            raise TaskNotFoundError(task_uuid)
        return row["namespace"], row["name"]

    async def of_task(
        self, task_uuid: UUID, after: Position | None = None, *, patience: float = 15.0
    ) -> AsyncGenerator[News, None]:
        """Yield the changes of one task and its steps until the task is over; without ``after`` from its beginning.

        Beside the ends of attempts it tells what the database keeps as times of an attempt: that a step became ready,
        and that an attempt began. A lease that is given back unused is no history: it may have been told of and be
        missing when the same stretch is told again.

        Args:
            task_uuid: the task.
            after: the last position that was seen.
            patience: seconds of silence after which news without changes are yielded.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        namespace, name = await self.identity(task_uuid)
        task = functools.partial(Change, task_uuid=task_uuid, namespace=namespace, name=name)
        position = after or Position(0, 0, 0)
        silence = _Silence(patience)
        with self._listening(task_uuid):
            while True:
                next_look, mark = self._next_look, self._marks.get(task_uuid)
                page = await self._page_of_task(task_uuid, task, position)
                if page is not None and (page.changes or page.over):
                    yield News(page.changes, page.position, page.over)
                    silence.break_()
                if page is not None and page.over:
                    return
                if page is not None and page.position > position:
                    position = page.position
                    continue
                unfinished = page is None or page.held_back
                while True:
                    if not await self._looked(next_look, silence):
                        yield News([], position)
                        silence.break_()
                        continue
                    next_look = self._next_look
                    if unfinished or self._marks.get(task_uuid) != mark:
                        break

    async def of_all(
        self, after: Position, wanted: Callable[[Change], bool], *, patience: float = 15.0
    ) -> AsyncGenerator[News, None]:
        """Yield the ends of attempts and the changes of tasks' states, for ever.

        Args:
            after: the last position that was seen; see :meth:`now`.
            wanted: which changes are.
            patience: seconds of silence after which news without changes are yielded.
        """
        position, stretch = after, _FIRST_STRETCH
        silence = _Silence(patience)
        with self._listening(None):
            while True:
                next_look, window = self._next_look, self._window
                page: tuple[Sequence[Change], Position] | None = None
                if window is not None and position >= window.start:
                    page = window.after(position)
                elif window is not None:
                    page = await self._page(position, min(position.time + stretch, window.end.time))
                    full = page is not None and len(page[0]) == _PAGE
                    stretch = stretch / 4 if full else min(stretch * 4, _LONGEST_STRETCH)
                changes, reached = page or ((), position)
                advanced, position = reached > position, reached
                news = [change for change in changes if wanted(change)]
                if news or not silence.left:
                    yield News(news, position)
                    silence.break_()
                while not advanced and not await self._looked(next_look, silence):
                    yield News([], position)
                    silence.break_()

    @contextlib.contextmanager
    def _listening(self, whom: UUID | None) -> Iterator[None]:
        """Let the loop look for changes of a task, or of all (None)."""
        self._listeners[whom] += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_for_changes())
        try:
            yield
        finally:
            self._listeners[whom] -= 1
            if not self._listeners[whom]:
                del self._listeners[whom]
            if not self._listeners:
                self._looking.cancel()
                self._looking = self._horizon = self._window = None
                self._marks = {}

    async def _looked(self, look: asyncio.Event, silence: _Silence) -> bool:
        """Wait for a look; return False if it has been silent for too long before."""
        try:
            async with asyncio.timeout(silence.left):
                await look.wait()
        except TimeoutError:
            return False
        if self._looking is not None and self._looking.done():
            self._looking.result()
        return True

    async def _look_for_changes(self) -> None:
        away = False
        try:
            while True:
                try:
                    await self._look()
                    away = False
                except StoreUnavailableError as error:
                    log.log(logging.DEBUG if away else logging.WARNING, "feed_delayed", reason=str(error))
                    away = True
                self._tell_listeners()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self._tell_listeners()

    async def _look(self) -> None:
        horizon = await feed.horizon(self._database)
        # A transaction that just begins may be seen late, but what it writes is later than what was final before.
        horizon = max(horizon, self._horizon or horizon)
        if None in self._listeners:
            window = self._window or _Window(Position.before(horizon))
            while window.end.time < horizon:
                window.add(*_changes_and_reach(await self._rows(window.end, horizon), horizon))
            self._window = window
        else:
            self._window = None
        tasks = [task for task in self._listeners if task is not None]
        if tasks:
            self._marks = await feed.task_marks(self._database, tasks)
        self._horizon = horizon

    def _tell_listeners(self) -> None:
        self._next_look.set()
        self._next_look = asyncio.Event()

    async def _page(self, after: Position, until: datetime) -> tuple[Sequence[Change], Position] | None:
        """Return the next changes of all tasks, and how far they reach; None while the database is away."""
        try:
            return _changes_and_reach(await self._rows(after, until), until)
        except StoreUnavailableError:
            return None

    async def _rows(self, after: Position, until: datetime) -> Sequence[asyncpg.Record]:
        return await feed.changes(self._database, (after.time, after.kind, after.number), until, _PAGE)

    async def _page_of_task(
        self, task_uuid: UUID, task: Callable[..., Change], after: Position
    ) -> "_PageOfTask | None":
        """Return the next changes of a task; None while the database is away."""
        horizon = self._horizon
        if horizon is None:
            return None
        if after.time >= horizon:
            return _PageOfTask([], after, None, held_back=True)
        try:
            rows = await feed.task_changes(self._database, task_uuid, after.time, horizon, _PAGE)
        except StoreUnavailableError:
            return None
        if not rows:
            raise TaskNotFoundError(task_uuid)
        until, held_back = rows[0]["until"], rows[0]["more"]
        changes = sorted(
            (
                task(position, details=functools.partial(dict, details))
                for position, details in _told(rows)
                if position > after and position.time <= until
            ),
            key=lambda change: change.position,
        )
        reached = max(after, Position.before(until)._replace(kind=_OF_TASK, number=_LAST_NUMBER))
        state = TaskState(rows[0]["state"])
        return _PageOfTask(
            changes, reached, state if state.is_terminal and not held_back else None, held_back=held_back
        )


class _PageOfTask(NamedTuple):
    changes: Sequence[Change]
    position: Position
    over: TaskState | None
    held_back: bool


def _changes_and_reach(rows: Sequence[asyncpg.Record], until: datetime) -> tuple[Sequence[Change], Position]:
    changes = [
        Change(
            Position.before(row["occurred_at"])._replace(kind=row["kind"], number=row["sequence"]),
            row["task_uuid"],
            row["namespace"] or "",
            row["task_name"] or "",
            functools.partial(_details, row),
        )
        for row in rows
    ]
    return changes, changes[-1].position if len(rows) == _PAGE else Position.before(until)


def _details(row: asyncpg.Record) -> dict[str, Any]:
    of_task, of_step = ([row], []) if row["kind"] == _OF_TASK else ([], [row])
    return views.history_view(of_task, of_step)[-1]


def _told(rows: Sequence[asyncpg.Record]) -> Iterator[tuple[Position, dict[str, Any]]]:
    """Yield the changes that rows of one task stand for, with their positions."""
    # A step that was put into the queue by hand has its row for that already.
    by_hand = {(row["ordinal"], row["occurred_at"]) for row in rows if row["verb"] is not None}
    for row in rows:
        if row["kind"] == _OF_TASK:
            yield _position(row["occurred_at"], _OF_TASK, row["sequence"]), _details(row)
        elif row["kind"] is not None:
            for change in views.history_view([], [row]):
                if change["to_state"] == "in_progress":
                    yield _position(row["leased_at"], _BEGAN, row["ordinal"]), change
                elif change["to_state"] != "enqueued" or change["verb"] is not None:
                    yield _position(row["occurred_at"], _ENDED, row["sequence"]), change
                elif (row["ordinal"], row["enqueued_at"]) not in by_hand:
                    yield _position(row["enqueued_at"], _READY, row["ordinal"]), change


def _position(time: datetime, kind: int, number: int) -> Position:
    return Position.before(time)._replace(kind=kind, number=number)
