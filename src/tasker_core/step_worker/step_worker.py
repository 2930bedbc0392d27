"""The worker: keeps as many handlers running as it may, and loses nothing on the way."""

import asyncio
import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import structlog

from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler.invocation import is_async
from tasker_core.step_source import (
    LeasedStep,
    LeaseKey,
    SourceRefusedError,
    SourceUnavailableError,
    StepReport,
    StepSource,
    WaitingStepSource,
)
from tasker_core.step_worker import execution
from tasker_core.step_worker.lease_keeper import LeaseKeeper
from tasker_core.step_worker.threads import HandlerThreads
from tasker_core.types import StepHandlerResult

#: Handlers that run at once.
DEFAULT_CONCURRENCY = 10

#: Seconds that a handler may run if its step has no ``timeout_seconds``.
DEFAULT_TIMEOUT_SECONDS = 300.0

#: Seconds that a stopping worker waits for running handlers.
DEFAULT_SHUTDOWN_SECONDS = 30.0

#: Seconds between claims while nothing seems to be ready. Wake-ups come first; this is the backstop.
IDLE_POLL_SECONDS = 1.0

#: Reports under way at once. While the database records one batch, the next one fills; with two, neither the
#: database nor the handlers wait for the other.
_REPORTERS = 2

#: Seconds until an engine that could not be reached is tried again, first and at most; each failure doubles it.
_FIRST_RETRY_SECONDS = 0.25
_LAST_RETRY_SECONDS = 2.0

log = structlog.get_logger("tasker.worker")


class _Attempt:
    """A handler that is running, or whose report is on its way.

    Attributes:
        ended: its report is made; whatever the handler still returns is void.
        cancelled: the handler was told to stop.
        returned: the handler does not run, or not any more.
        forgotten: the worker holds it no longer; if the handler has not returned, it still takes up a slot.
    """

    __slots__ = ("cancelled", "deadline", "ended", "forgotten", "returned", "step", "task")

    def __init__(self, step: LeasedStep) -> None:
        self.step = step
        self.ended = False
        self.cancelled = False
        self.returned = False
        self.forgotten = False
        self.task: asyncio.Task[StepReport] | None = None
        self.deadline: asyncio.TimerHandle | None = None


class StepWorker:
    """Claims steps, runs their handlers and reports the results.

    Async handlers run on the event loop, plain ones on threads; one limit counts both.

    Args:
        source: where steps come from.
        registry: finds handlers.
        concurrency: handlers that run at once.
        default_timeout: seconds that a handler may run if its step has no ``timeout_seconds``.
        shutdown_timeout: seconds that :meth:`run` waits for running handlers after :meth:`stop`.
        idle_poll: seconds between claims while nothing seems to be ready.
        log_steps: log the start and the end of each handler, at level info.

    Call :meth:`wake` when steps may have become ready, :meth:`check_leases` when some may have been cancelled, and
    :meth:`stop` to end :meth:`run`.
    """

    def __init__(
        self,
        source: StepSource,
        registry: HandlerRegistry,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        default_timeout: float = DEFAULT_TIMEOUT_SECONDS,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_SECONDS,
        idle_poll: float = IDLE_POLL_SECONDS,
        log_steps: bool = False,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self._source = source
        # Whether a claim waits for work by itself.
        self._claim_waits = isinstance(source, WaitingStepSource)
        self._registry = registry
        self._concurrency = concurrency
        self._batch_limit = -(-concurrency // _REPORTERS)
        self._default_timeout = default_timeout
        self._shutdown_timeout = shutdown_timeout
        self._idle_poll = idle_poll
        # Asked by hand, since a logger that only drops a line takes longer than much else that a step needs.
        self._log_steps = log_steps
        self._attempts: dict[LeaseKey, _Attempt] = {}
        self._ended: deque[StepReport] = deque()
        self._has_ended = asyncio.Event()
        # Slots promised to a claim or report under way, so that together they never take too many steps.
        self._promised = 0
        # Handlers that were given up but have not returned; each keeps its slot.
        self._stuck = 0
        self._may_be_ready = True
        # When the earliest waiting retry is due, on the monotonic clock; None if none waits.
        self._next_due: float | None = None
        self._next_due_known = False
        self._claim_due = asyncio.Event()
        # After an outage, leases may be ours that we never heard of; see _recover.
        self._lost_contact = False
        self._failures = Counter[str]()
        self._forgotten_meanwhile: set[LeaseKey] | None = None
        # Set when a claim that waits is to end: contact was lost, or the worker stops.
        self._interrupted = asyncio.Event()
        # A claim was cut short while the engine may have been granting it.
        self._claim_cut_short = False
        # Reports under way that may bring steps.
        self._answers_due = 0
        self._no_answer_due = asyncio.Event()
        self._no_answer_due.set()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: HandlerThreads[_Attempt] | None = None
        self._keeper: LeaseKeeper | None = None

    @property
    def running(self) -> int:
        """How many steps the worker holds just now."""
        return len(self._attempts)

    @property
    def concurrency(self) -> int:
        """How many handlers may run at once."""
        return self._concurrency

    @property
    def in_contact(self) -> bool:
        """Whether the engine answered the last time that it was asked."""
        return not self._lost_contact

    @property
    def is_stopping(self) -> bool:
        """Whether it claims no more."""
        return self._stopping.is_set()

    def wake(self) -> None:
        """Say that steps may be ready to be claimed."""
        self._may_be_ready = True
        self._claim_due.set()

    def check_leases(self) -> None:
        """Say that leases may have been taken away, so that handlers whose step was cancelled are told soon."""
        if self._keeper is not None and self._attempts:
            self._keeper.renew_now()

    def stop(self) -> None:
        """Claim no more; :meth:`run` returns when the running handlers are done and reported."""
        self._stopping.set()
        self._interrupted.set()
        self._claim_due.set()
        self._check_idle()

    async def run(self) -> None:
        """Work until :meth:`stop`."""
        loop = self._loop = asyncio.get_running_loop()

        def on_loop(callback: Callable[..., object], *arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # a thread that outlives the loop has nobody left to tell
                loop.call_soon_threadsafe(callback, *arguments)

        self._threads = HandlerThreads(self._concurrency, wake=lambda: on_loop(self._take_from_threads))
        keeper = self._keeper = LeaseKeeper(
            self._source,
            running=lambda: list(self._attempts),
            lost=lambda keys: on_loop(self._leases_lost, keys),
        )
        keeper.start()
        duties = [asyncio.create_task(self._claim_steps())]
        duties += [asyncio.create_task(self._report_attempts()) for _ in range(_REPORTERS)]
        try:
            await self._until_stopped(duties)
            await duties[0]
            await self._drain()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            self._threads.stop()
            await asyncio.to_thread(keeper.stop)

    async def _until_stopped(self, duties: Sequence["asyncio.Task[None]"]) -> None:
        """Wait for :meth:`stop`; a duty that ends before is a defect and its error is ours."""
        stopped = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait({stopped, *duties}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for duty in done - {stopped}:
            duty.result()

    async def _drain(self) -> None:
        """Wait for what is running; report what does not end in time as failed, to be tried elsewhere."""
        self._check_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), self._shutdown_timeout)
        except TimeoutError:
            log.warning("drain_timeout", running=len(self._attempts), seconds=self._shutdown_timeout)
            for attempt in list(self._attempts.values()):
                if not attempt.ended:
                    self._cancel(attempt)
                    self._end(attempt, execution.cut_short(attempt.step))
            try:
                await asyncio.wait_for(self._idle.wait(), self._source.lease_seconds)
            except TimeoutError:
                log.warning("leases_left_behind", count=len(self._attempts))

    # -- claiming

    async def _claim_steps(self) -> None:
        while not self._stopping.is_set():
            free = self._free()
            if self._lost_contact:
                await self._recover()
            elif free > 0 and self._may_be_ready:
                await self._claim(free)
            else:
                await self._until_claim_is_due()
        if self._claim_cut_short:
            await self._give_back_unknown()

    async def _claim(self, free: int) -> None:
        self._may_be_ready = False
        self._promised += free
        started = time.monotonic()
        try:
            steps = await self._granted(free)
            self._failures["claim"] = 0
            if self._stopping.is_set():
                await self._give_back(steps)
                return
            if len(steps) == free:
                self._may_be_ready = True
            elif self._claim_waits:
                # An engine that answers at once with nothing, such as one that is about to stop, is left alone a while.
                patient = time.monotonic() - started > self._idle_poll
                self._may_be_ready = bool(steps) or patient or self._interrupted.is_set()
            else:
                self._next_due_known = False
        except SourceUnavailableError as error:
            await self._source_unavailable("claim", error)
            return
        finally:
            self._promised -= free
        self._start(steps)

    async def _granted(self, free: int) -> Sequence[LeasedStep]:
        """Claim; a claim that waits is cut short when there is something else to do."""
        if not self._claim_waits:
            return await self._source.claim(free)
        claim = asyncio.ensure_future(self._source.claim(free))
        interrupted = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({claim, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if claim.done():
                return claim.result()
            self._claim_cut_short = True
            return ()
        finally:
            claim.cancel()
            interrupted.cancel()
            await asyncio.gather(claim, interrupted, return_exceptions=True)

    async def _until_claim_is_due(self) -> None:
        self._claim_due.clear()
        pause = self._idle_poll
        if not self._next_due_known:
            await self._look_for_next_due()
        if self._next_due is not None:
            pause = min(pause, max(0.0, self._next_due - time.monotonic()))
        try:
            await asyncio.wait_for(self._claim_due.wait(), pause)
        except TimeoutError:
            self._may_be_ready = True
            self._next_due = None

    async def _look_for_next_due(self) -> None:
        try:
            due = await self._source.next_due()
        except SourceUnavailableError as error:
            await self._source_unavailable("next_due", error)
            return
        self._next_due = None if due is None else time.monotonic() + due
        self._next_due_known = True

    def _free(self) -> int:
        return self._concurrency - len(self._attempts) - self._promised - self._stuck

    # -- running

    def _start(self, steps: Sequence[LeasedStep]) -> None:
        for step in steps:
            if step.key not in self._attempts:
                self._start_one(step)

    def _start_one(self, step: LeasedStep) -> None:
        assert self._loop is not None
        assert self._threads is not None
        attempt = self._attempts[step.key] = _Attempt(step)
        if self._log_steps:
            log.info("step_started", **_described(step))
        handler = execution.resolve(self._registry, step)
        if isinstance(handler, StepHandlerResult):
            attempt.returned = True
            self._end(attempt, execution.report(step, handler))
            return
        context = execution.make_context(step, handler, is_cancelled=lambda: attempt.cancelled)
        limit = step.definition["timeout_seconds"] or self._default_timeout
        attempt.deadline = self._loop.call_later(limit, self._time_is_up, attempt, limit)
        if is_async(handler):
            attempt.task = self._loop.create_task(execution.run_async(step, handler, context))
            attempt.task.add_done_callback(lambda task: self._task_done(attempt, task))
        else:
            self._threads.submit(attempt, lambda: execution.run_sync(step, handler, context))

    def _task_done(self, attempt: _Attempt, task: "asyncio.Task[StepReport]") -> None:
        # Cancelled without our doing means that the handler raised CancelledError by itself.
        self._returned(attempt, execution.cancelled_itself(attempt.step) if task.cancelled() else task.result())

    def _take_from_threads(self) -> None:
        assert self._threads is not None
        for attempt, report in self._threads.take():
            self._returned(attempt, report)

    def _returned(self, attempt: _Attempt, report: StepReport) -> None:
        attempt.returned = True
        if not attempt.ended:
            self._end(attempt, report)
            return
        if not attempt.cancelled or attempt.task is None:
            log.warning("late_result_dropped", **_named(report.lease))
        if attempt.forgotten:
            self._stuck -= 1
            self._slot_freed()

    def _end(self, attempt: _Attempt, report: StepReport) -> None:
        attempt.ended = True
        if attempt.deadline is not None:
            attempt.deadline.cancel()
        if self._log_steps:
            ending = {"success": report.success, "milliseconds": report.execution_time_ms}
            if report.error is not None:
                ending |= {"error_type": report.error["error_type"], "reason": report.error["message"]}
            log.info("step_ended", **_described(attempt.step), **ending)
        self._ended.append(report)
        self._has_ended.set()

    def _time_is_up(self, attempt: _Attempt, limit: float) -> None:
        if not attempt.ended:
            self._cancel(attempt)
            self._end(attempt, execution.timed_out(attempt.step, limit))

    def _cancel(self, attempt: _Attempt) -> None:
        """Stop a handler: a coroutine is cancelled, a thread sees ``is_cancelled``."""
        attempt.cancelled = True
        if attempt.task is not None:
            attempt.task.cancel()

    def _leases_lost(self, keys: frozenset[LeaseKey]) -> None:
        for key in keys:
            attempt = self._attempts.get(key)
            if attempt is not None and not attempt.ended:
                log.warning("lease_lost", step=attempt.step.name, **_named(key))
                self._cancel(attempt)
                attempt.ended = True
                if attempt.deadline is not None:
                    attempt.deadline.cancel()
                self._forget([key])

    # -- reporting

    async def _report_attempts(self) -> None:
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            if not self._ended:
                continue
            # Half at most: while one half is being recorded, the handlers of the other half run.
            batch = [self._ended.popleft() for _ in range(min(len(self._ended), self._batch_limit))]
            if self._ended:
                self._has_ended.set()
            await self._report(batch)

    async def _report(self, batch: list[StepReport]) -> None:
        want = 0 if self._stopping.is_set() or self._lost_contact else max(0, self._free() + len(batch))
        # The batch's own slots are free once it is recorded; the others are promised to this report.
        promised = max(0, want - len(batch))
        self._promised += promised
        self._expect_answer(+1)
        try:
            answer = await self._source.report(batch, want)
            self._failures["report"] = 0
        except SourceRefusedError:
            self._ended.extendleft(reversed(batch))
            raise
        except SourceUnavailableError as error:
            self._ended.extendleft(reversed(batch))
            await self._source_unavailable("report", error)
            self._has_ended.set()
            return
        except Exception as error:  # noqa: BLE001 - one bad report must not stop the others
            await self._report_apart(batch, error)
            return
        finally:
            self._promised -= promised
            self._expect_answer(-1)
        for lease in answer.refused:
            log.warning("report_refused", reason="the lease was lost", **_named(lease))
        leased = answer.leased
        if leased and self._stopping.is_set():
            # Before the batch is forgotten: a worker with nothing at hand counts as done.
            await self._give_back(leased)
            leased = ()
        rejected = [report for report in batch if report.lease in answer.rejected]
        self._forget([report.lease for report in batch if report.lease not in answer.rejected])
        for report in rejected:
            self._fail_unrecordable(report, ValueError(answer.rejected[report.lease]))
        self._start(leased)
        if answer.more_ready:
            self.wake()
        if answer.retry_in is not None:
            due = time.monotonic() + answer.retry_in
            self._next_due = due if self._next_due is None else min(due, self._next_due)
            self._claim_due.set()
        if self._lost_contact:
            self._claim_due.set()

    async def _report_apart(self, batch: list[StepReport], error: Exception) -> None:
        """Find the report that the engine cannot take, and fail that step alone."""
        if len(batch) > 1:
            for report in batch:
                await self._report([report])
            return
        self._fail_unrecordable(batch[0], error)

    def _fail_unrecordable(self, report: StepReport, error: Exception) -> None:
        """Report a failure instead of what the engine cannot take."""
        log.error("report_failed", reason=str(error), **_named(report.lease))
        if report.error is not None and report.error["error_type"] == execution.RESULT_REFUSED:
            self._forget([report.lease])  # not even the failure can be recorded: the lease will expire
            return
        self._ended.append(execution.refused(self._attempts[report.lease].step, error))
        self._has_ended.set()

    def _expect_answer(self, change: int) -> None:
        self._answers_due += change
        if self._answers_due:
            self._no_answer_due.clear()
        else:
            self._no_answer_due.set()

    def _forget(self, keys: Sequence[LeaseKey]) -> None:
        for key in keys:
            attempt = self._attempts.pop(key, None)
            if attempt is not None:
                attempt.forgotten = True
                self._stuck += not attempt.returned
        if self._forgotten_meanwhile is not None:
            self._forgotten_meanwhile.update(keys)
        self._slot_freed()
        self._check_idle()

    def _slot_freed(self) -> None:
        if self._may_be_ready:
            self._claim_due.set()

    def _check_idle(self) -> None:
        if self._stopping.is_set() and not self._attempts:
            self._idle.set()

    # -- outages

    async def _source_unavailable(self, duty: str, error: SourceUnavailableError) -> None:
        log.warning("engine_unavailable", duty=duty, reason=str(error))
        self._lost_contact = True
        self._interrupted.set()
        self._may_be_ready = True
        delay = min(_FIRST_RETRY_SECONDS * 2 ** min(self._failures[duty], 10), _LAST_RETRY_SECONDS)
        self._failures[duty] += 1
        pause = max(error.retry_after or 0.0, delay * random.uniform(0.8, 1.2))
        if duty == "report":
            await asyncio.sleep(pause)  # a stopping worker, too, reports what it has
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _recover(self) -> None:
        """Adopt leases whose grant was lost with the connection.

        Nothing is claimed until this is done: the lost grants take up the slots that they were promised.
        """
        self._lost_contact = self._claim_cut_short = False
        if not self._stopping.is_set():
            self._interrupted.clear()
        try:
            self._start(await self._unknown_grants())
            self._failures["recover"] = 0
        except SourceUnavailableError as error:
            await self._source_unavailable("recover", error)

    async def _give_back_unknown(self) -> None:
        """Give back what a claim that was cut short may have been granted."""
        # What reports under way bring is run here, and known once their answers are here.
        await self._no_answer_due.wait()
        try:
            unknown = await self._unknown_grants()
        except SourceUnavailableError as error:
            log.warning("engine_unavailable", duty="recover", reason=str(error))
            return
        await self._give_back(unknown)

    async def _give_back(self, steps: Sequence[LeasedStep]) -> None:
        """Give steps back that were not started, so that another worker starts them at once."""
        if steps:
            try:
                await self._source.release([step.key for step in steps])
            except SourceUnavailableError as error:  # then their leases run out
                log.warning("engine_unavailable", duty="release", reason=str(error))

    async def _unknown_grants(self) -> Sequence[LeasedStep]:
        """Return the steps that the engine holds leased to this worker and that it does not run."""
        self._forgotten_meanwhile = set()
        try:
            steps = await self._source.recover()
            # What was reported while the engine looked is over, although the answer may still name it.
            over = self._forgotten_meanwhile
            return [step for step in steps if step.key not in over and step.key not in self._attempts]
        finally:
            self._forgotten_meanwhile = None


def _described(step: LeasedStep) -> dict[str, object]:
    return {
        "step": step.name,
        "template": f"{step.task.namespace}/{step.task.name}",
        "task_uuid": str(step.task.task_uuid),
        "attempt": step.attempt,
    }


def _named(key: LeaseKey) -> dict[str, object]:
    return {"task_uuid": str(key.task_uuid), "ordinal": key.ordinal, "lease_id": key.lease_id}
