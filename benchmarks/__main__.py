"""``python -m benchmarks``: measures all subjects round by round and prints how they compare."""

import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import typer
from rich.console import Console

from benchmarks import report
from benchmarks.measure import Round, ServiceRound, Sizes
from benchmarks.server import Server, open_server
from benchmarks.service import SDK_WORKERS
from benchmarks.subjects import TITLES, measure_apart

_DEFAULT_JSON = Path(__file__).parent / "results" / "latest.json"
_QUICK = Sizes(tasks=40, single_tasks=5, concurrency=16)

_NO_DBOS = "DBOS is not installed, so Tasker is not compared with it; pip install 'tasker-core[bench]'"

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def main(
    tasks: Annotated[int, typer.Option(min=1, help="Tasks of four steps in each bulk measurement.")] = 5000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the tables show medians over them.")] = 3,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Handlers that Tasker's worker runs at once, and rows a batch in the bare loop.")
    ] = 256,
    single_tasks: Annotated[int, typer.Option(min=1, help="Tasks that run one at a time in each round.")] = 200,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Measure only this one; may be repeated. One of: {', '.join(TITLES)}."),
    ] = None,
    json_path: Annotated[
        Path, typer.Option("--json", metavar="PATH", help="Where all values of all rounds go.", show_default=False)
    ] = _DEFAULT_JSON,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A PostgreSQL server on which databases bench_* may be made and dropped.  Default: an embedded "
            "server in a temporary directory.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="One round of tiny sizes, whatever else is said: shows that all of it works, measures nothing.",
        ),
    ] = False,
) -> None:
    """Measure Tasker beside the bare SQL loop (the limit) and DBOS, on one database server.

    Each round measures every subject once, in turn, each in a process and on a database of its own, so that what
    disturbs the machine disturbs them all; ratios compare subjects within a round. Absolute values differ from
    machine to machine and from hour to hour, ratios much less. Those named http-* and sdk-* are Tasker as a service,
    with servers and workers in further processes.

    The targets beside the results are for information: a missed one does not change the exit code.

    \b
    Everything, five minutes or so:
      python -m benchmarks
    Only the workers of the SDKs, which make sdks builds:
      python -m benchmarks --only sdk-python --only sdk-typescript --only sdk-ruby --only sdk-rust
    Only the service:
      python -m benchmarks --only chain --only http-create --only http-chain
    Is my change faster?
      python -m benchmarks --only chain --only bare --rounds 7
    Does it still run?
      python -m benchmarks --quick
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    signal.signal(signal.SIGTERM, _terminated)
    sizes = _QUICK if quick else Sizes(tasks, single_tasks, concurrency)
    rounds = 1 if quick else rounds
    names = _chosen(only or list(TITLES), quick)
    with open_server(database_url) as server:
        facts = _facts(server)
        results = _measure(server, names, sizes, rounds)
    report.show(out, results)
    parameters = {**{name: getattr(sizes, name) for name in Sizes.__slots__}, "rounds": rounds}
    document = {"machine": facts, "parameters": parameters, **report.document(results)}
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    out.print(f"  All values: {json_path}", soft_wrap=True)


def _terminated(*_: object) -> None:
    """Leave as after Ctrl-C, which the measuring process hears, too, so that nothing is left behind."""
    for process in multiprocessing.active_children():
        process.terminate()
    raise KeyboardInterrupt


def _chosen(names: Sequence[str], quick: bool) -> list[str]:
    """Return these names in the tables' order, without what cannot be measured here."""
    unknown = set(names) - set(TITLES)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(TITLES)}", param_hint="--only")
    if "dbos" in names and importlib.util.find_spec("dbos") is None:
        err.print(_NO_DBOS, markup=False, soft_wrap=True)
        names = [name for name in names if name != "dbos"]
    for name in [name for name in names if name.startswith("sdk-")]:
        program = Path(SDK_WORKERS[name.removeprefix("sdk-")][-1])
        if not program.exists():
            err.print(f"{program} is not built, so {name} is not measured; make sdks", markup=False, soft_wrap=True)
            names = [other for other in names if other != name]
        elif program.parent.name == "debug" and not quick:
            err.print(f"{name} is measured with a debug build; make bench compiles it for speed", markup=False)
    return [name for name in TITLES if name in names]


def _measure(server: Server, names: list[str], sizes: Sizes, rounds: int) -> dict[str, list[Round | ServiceRound]]:
    results: dict[str, list[Round | ServiceRound]] = {name: [] for name in names}
    with err.status("") as status:
        for number in range(rounds):
            # Each round starts with another subject, so that nobody always follows the same neighbour.
            first = number % len(names) if names else 0
            for name in names[first:] + names[:first]:
                status.update(f"round {number + 1} of {rounds}: {TITLES[name]}")
                with server.database(name) as url:
                    results[name].append(measure_apart(name, url, sizes))
    return results


def _facts(server: Server) -> dict[str, Any]:
    """Return what the absolute values depend on."""
    return {
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("tasker-core", "asyncpg", "uvloop", "uvicorn", "httpx", "dbos")},
        "postgresql": server.settings(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    typer.run(main)
