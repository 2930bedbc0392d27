"""Runs the task with a worker of each language: ``python -m examples.polyglot``.

Everything is a process of its own, as in production: a Tasker server on the embedded PostgreSQL, and four workers that
know nothing but its URL.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SDKS = REPOSITORY / "sdks"
CARGO_TARGET = SDKS / "rust" / "target"
TASKER = [sys.executable, "-m", "tasker_core"]

BUILDS: Mapping[str, list[list[str]]] = {
    "typescript": [["npm", "ci", "--silent", "--no-audit", "--no-fund"], ["npm", "run", "--silent", "build"]],
    "rust": [["cargo", "build", "--quiet", "--locked", "--target-dir", str(CARGO_TARGET)]],
}

#: How each worker is started, in its own directory.
WORKERS: Mapping[str, list[str]] = {
    "python": [*TASKER, "worker", "../template.yaml", "--handlers", "handlers.py", "--allow-missing"],
    "typescript": ["node", "node_modules/@tasker-systems/tasker/dist/src/cli.js", "dist/handlers.js"],
    "ruby": ["ruby", "-I", str(SDKS / "ruby" / "lib"), str(SDKS / "ruby" / "exe" / "tasker-worker"), "loans.rb"],
    "rust": [str(CARGO_TARGET / "debug" / "tasker-example-polyglot")],
}


def main() -> int:
    """Build, start everything, run the task; return its exit code."""
    for language, commands in BUILDS.items():
        print(f"building the {language} worker", flush=True)
        for command in commands:
            subprocess.run(command, cwd=HERE / language, check=True)
    with tempfile.TemporaryDirectory(prefix="tasker-polyglot-") as directory:
        logs = Path(directory)
        with server(logs / "server.log") as url, workers(url, logs):
            code = run_task(url)
            if code:
                for log in sorted(logs.iterdir()):
                    print(f"--- {log.name}\n{log.read_text(encoding='utf-8')}", file=sys.stderr)
            return code


@contextlib.contextmanager
def server(log: Path) -> Iterator[str]:
    """Run a Tasker server until the body ends; yields its URL."""
    with log.open("w") as output:
        process = subprocess.Popen([*TASKER, "server", "--bind", "127.0.0.1:0"], cwd=REPOSITORY, stderr=output)
        try:
            while (listening := re.search(r"Listening on (\S+?),", log.read_text())) is None:
                if process.poll() is not None:
                    raise SystemExit(f"the server ended with {process.returncode}: {log.read_text()}")
                time.sleep(0.05)
            yield listening[1]
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def workers(url: str, logs: Path) -> Iterator[None]:
    """Run a worker of each language until the body ends."""
    environment = os.environ | {"TASKER_ORCHESTRATION_URL": url, "TASKER_NAMESPACE": "polyglot"}
    with contextlib.ExitStack() as stack:
        for language, command in WORKERS.items():
            output = stack.enter_context((logs / f"{language}.log").open("w"))
            own = {"TASKER_WORKER_ID": f"{language}-worker"}
            process = subprocess.Popen(
                command, cwd=HERE / language, env=environment | own, stdout=output, stderr=output
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield


def run_task(url: str) -> int:
    """Create the task, wait for it, and show which worker did what; return its exit code."""
    server_option = ["--server", url]
    _, code = run("template", "register", "examples/polyglot/template.yaml", *server_option)
    if code:
        return code
    created, code = run(
        "task", "create", "polyglot/loan_application", "--context", "@examples/polyglot/input.json",
        "--idempotency-key", str(uuid.uuid4()), "--wait", "--timeout", "60", *server_option,
    )  # fmt: skip
    task = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", created)
    if task is not None:
        run("task", "history", task[0], *server_option)
    return code


def run(*arguments: str) -> tuple[str, int]:
    """Show a command of the CLI, run it and show what it prints; return that, and the exit code."""
    print(f"$ tasker {shlex.join(arguments)}", flush=True)
    process = subprocess.run(
        [*TASKER, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(process.stdout, flush=True)
    return process.stdout, process.returncode


if __name__ == "__main__":
    sys.exit(main())
