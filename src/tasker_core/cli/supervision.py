"""Several worker processes: started, restarted when they die, and stopped together."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from dataclasses import dataclass

import msgspec
import structlog

from tasker_core.cli.output import ExitCode, Options, err, warn
from tasker_core.cli.serving import Job, Serving
from tasker_core.cli.working import first_of, stops_requested
from tasker_core.configuration.profiles import target
from tasker_core.runtime import Settings, open_database

#: Seconds before a process that died is replaced; twice as long after each death, up to the last.
_FIRST_DELAY = 0.5
_LAST_DELAY = 30.0

#: Seconds after which a process counts as healthy: when it dies, the delay is the first again.
_HEALTHY_AFTER = 60.0

log = structlog.get_logger("tasker.supervisor")


async def supervise(job: Job, processes: int) -> int:
    """Keep this many worker processes running until a signal says to stop; return the exit code."""
    at_server = target(server=job.server, database_url=job.database_url) is not None
    # Held here, so that an embedded PostgreSQL outlives each of the processes.
    database = contextlib.nullcontext() if at_server else open_database(Settings.read(database_url=job.database_url))
    with database, stops_requested() as requests:
        supervisor = _Supervisor(job, processes)
        running = asyncio.create_task(supervisor.run())
        try:
            await first_of(running, requests.stop)
            if not running.done():
                warn(f"stopping {processes} worker processes (another signal leaves at once)")
            supervisor.stop()
            await first_of(running, requests.leave)
            return running.result() if running.done() else requests.exit_code
        finally:
            await supervisor.kill()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@dataclass(eq=False, slots=True)
class _Child:
    """A worker process. At the end of our side of the connection it stops."""

    process: Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ready: bool = False

    def stop(self) -> None:
        if self.ready:
            self.writer.close()
        else:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()


class _Supervisor:
    def __init__(self, job: Job, processes: int) -> None:
        self._job = job
        self._command = _command(job)
        self._environment = {**os.environ, **({"DATABASE_URL": job.database_url} if job.database_url else {})}
        self._stopping = asyncio.Event()
        self._up = [asyncio.Event() for _ in range(processes)]
        self._children: set[_Child] = set()
        self._exit_code = 0

    def stop(self) -> None:
        """Let all processes finish what they run."""
        self._stopping.set()
        for child in self._children:
            child.stop()

    async def kill(self) -> None:
        """End the processes that are left, at once."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
        await asyncio.gather(*(child.process.wait() for child in self._children))

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        # One first: what is wrong with the templates, the handlers or the database is then said once.
        slots = [asyncio.create_task(self._keep(0))]
        await first_of(slots[0], self._up[0])
        slots += [asyncio.create_task(self._keep(slot)) for slot in range(1, len(self._up))]
        await asyncio.gather(*slots)
        return self._exit_code

    async def _keep(self, slot: int) -> None:
        """Keep one process running; its event is set when it is ready for the first time."""
        up = self._up[slot]
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_one(slot)
            if self._stopping.is_set():
                return
            if code > 0 and not up.is_set():
                self._exit_code = code
                self.stop()
                return
            if time.monotonic() - began > _HEALTHY_AFTER:
                delay = _FIRST_DELAY
            log.info("next_worker_process", seconds=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(2 * delay, _LAST_DELAY)

    async def _run_one(self, slot: int) -> int:
        up = self._up[slot]
        child = await self._start(slot)
        self._children.add(child)
        if self._stopping.is_set():
            child.stop()
        line = await child.reader.readline()
        if line:
            child.ready = True
            log.info("worker_process_ready", pid=child.process.pid)
            self._is_up(up, msgspec.json.decode(line, type=Serving))
            if self._stopping.is_set():
                child.stop()
        code = await child.process.wait()
        self._children.discard(child)
        child.writer.close()
        if self._stopping.is_set():
            if child.ready and code:
                warn(f"worker process {child.process.pid} {_ended(code)} before its handlers were done")
                self._exit_code = ExitCode.FAILED
        elif code <= 0 or up.is_set():
            warn(f"worker process {child.process.pid} {_ended(code)}; another one takes its place")
        return code

    def _is_up(self, up: asyncio.Event, serving: Serving) -> None:
        first = not all(each.is_set() for each in self._up)
        up.set()
        if first and all(each.is_set() for each in self._up):
            serving.announce(self._job, f"{len(self._up)} worker processes")

    async def _start(self, slot: int) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *_health_option(self._job, slot),
                f"--supervisor={theirs.fileno()}",
                "--",
                *map(str, self._job.templates),
                stdin=asyncio.subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches all processes of a session; they are told by us
            )
        return _Child(process, *await asyncio.open_unix_connection(sock=ours))


def _command(job: Job) -> list[str]:
    command = [sys.executable, "-P", "-m", "tasker_core"]
    command += ["--verbose"] * Options.verbosity + ["--quiet"] * Options.quiet + ["--no-color"] * err.no_color
    command += [f"--server={job.server}"] if job.server else []
    command += ["worker", "--concurrency", str(job.concurrency), "--shutdown-timeout", str(job.shutdown_timeout)]
    command += ["--wait-for", str(job.patience)]
    command += ["--allow-missing"] * job.allow_missing
    command += [f"--namespace={namespace}" for namespace in job.namespaces]
    return command + [f"--handlers={reference}" for reference in job.handlers]


def _health_option(job: Job, slot: int) -> list[str]:
    """Return where a process answers health checks: each at the port after the one before."""
    if job.health_bind is None:
        return []
    host, _, port = job.health_bind.rpartition(":")
    return [f"--health-bind={host}:{int(port) + slot}"]


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
