"""Commands that run on and on, beside those that the `tasker` fixture runs to their end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest


class Service:
    """A ``tasker`` command that runs until it is stopped; it and its processes end with the test.

    Attributes:
        process: its process.
        seen: what it printed to stderr, as far as it was read.
    """

    def __init__(self, directory: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tasker_core", *arguments],
            cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NO_COLOR": "1", **environment},
        )  # fmt: skip
        self.seen = ""
        self._family: list[psutil.Process] = []

    def read_until(self, text: str) -> str:
        """Read lines up to one with this text, and return that line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.seen += line
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in:\n{self.seen}")

    @property
    def url(self) -> str:
        """Where a server listens, once it does."""
        if "Listening on " not in self.seen:
            self.read_until("Listening on ")
        return self.seen.split("Listening on ")[1].split()[0].rstrip(",;")

    def family(self) -> list[psutil.Process]:
        """Return its process and all that came of it, so far."""
        alive = psutil.Process(self.process.pid)
        self._family = list(
            {each.pid: each for each in [*self._family, alive, *alive.children(recursive=True)]}.values()
        )
        return self._family

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Read to the end, wait for it and return its exit code."""
        assert self.process.stderr is not None
        self.seen += self.process.stderr.read()
        assert "Traceback" not in self.seen, self.seen
        return self.process.wait(timeout=60)

    def stop(self) -> None:
        """Tell it to stop, and expect it to end well."""
        self.send(signal.SIGTERM)
        assert self.ended() == 0, self.seen

    def kill(self) -> None:
        """End it and its processes, whatever they do."""
        if self.process.poll() is None:
            self.family()
        for process in self._family:
            if process.is_running():
                process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts ``tasker`` commands in the test's directory; keyword arguments become environment variables."""
    started: list[Service] = []

    def start(*arguments: str, cwd: Path = tmp_path, **environment: str) -> Service:
        started.append(Service(cwd, arguments, environment))
        return started[-1]

    yield start
    for command in started:
        command.kill()
