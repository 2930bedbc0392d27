"""From rounds to what people read: medians, ratios, the targets, the table and the JSON document."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Round, ServiceRound
from benchmarks.subjects import TITLES

#: The subjects that the others are compared with.
LIMIT, NEIGHBOUR, IN_PROCESS = "bare", "dbos", "chain"

Rounds = Mapping[str, Sequence[Round | ServiceRound]]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise about a subject. ``scale`` turns the value into the unit that ``text`` speaks in."""

    text: str
    metric: str
    bound: float
    at_most: bool = False
    scale: float = 1.0
    unit: str = ""
    subject: str = IN_PROCESS

    def met_by(self, value: float) -> bool:
        """Whether a value keeps the promise."""
        return value <= self.bound if self.at_most else value >= self.bound


TARGETS = (
    Target("at least 10,000 steps/s", "steps_per_second", 10_000, unit=" steps/s"),
    Target("p50 of one task at most 6 ms", "p50_ms", 6, at_most=True, unit=" ms"),
    Target("at least 40 % of the bare loop", "share_of_bare", 0.4, scale=100, unit=" %"),
    Target(
        "over HTTP, p50 of creating one task at most 3 ms",
        "create_p50_ms",
        3,
        at_most=True,
        unit=" ms",
        subject="http-create",
    ),
    Target(
        "over HTTP, at least 10,000 tasks/s created in bulk",
        "created_per_second",
        10_000,
        unit=" tasks/s",
        subject="http-create",
    ),
    Target(
        "over HTTP, p50 of one task at most 20 ms (next: 10 ms)",
        "complete_p50_ms",
        20,
        at_most=True,
        unit=" ms",
        subject="http-chain",
    ),
    Target(
        "over HTTP, at least 3,000 steps/s with one worker",
        "steps_per_second",
        3_000,
        unit=" steps/s",
        subject="http-chain",
    ),
)


#: What of a service's subjects compares with what of the chain in one process.
_COMPARED = {
    "http-create": {"created_per_second": "created_per_second"},
    "http-chain": {"complete_p50_ms": "p50_ms", "steps_per_second": "steps_per_second"},
    "http-fleet": {"steps_per_second": "steps_per_second"},
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the tables about the service: what was measured of which subject."""

    text: str
    subject: str
    metric: str


_LATENCIES = (
    Line("create a task", "http-create", "create"),
    Line("chain of 4, submit to complete", "http-chain", "complete"),
    Line("idle: created in the database", "http-idle", "http_worker_by_engine"),
    Line("idle: created over HTTP", "http-idle", "http_worker_over_http"),
    Line("idle: worker on the database", "http-idle", "database_worker_by_engine"),
)

_RATES = (
    Line("create tasks", "http-create", "created"),
    Line("chain of 4, steps", "http-chain", "steps"),
    Line("chain of 4, steps, 2 + 4", "http-fleet", "steps"),
)


#: The workers of all languages, and the one that the others are compared with.
_SDKS = ("sdk-python", "sdk-typescript", "sdk-ruby", "sdk-rust")
_REFERENCE = "sdk-python"


def medians(rounds: Rounds) -> dict[str, dict[str, float]]:
    """Return the median of each metric and each ratio, by subject.

    A ratio compares two subjects in the same round; the median is taken of the ratios.
    """
    found: dict[str, dict[str, float]] = {}
    for name, own in rounds.items():
        metrics = [one.metrics() for one in own]
        columns = {metric: [row[metric] for row in metrics] for metric in metrics[0]}
        columns |= _ratios(name, rounds)
        found[name] = {metric: statistics.median(values) for metric, values in columns.items()}
    return found


def _ratios(name: str, rounds: Rounds) -> dict[str, list[float]]:
    def against(other: str, ratio: Callable[[Mapping[str, float], Mapping[str, float]], float]) -> list[float]:
        return [
            ratio(ours.metrics(), theirs.metrics()) for ours, theirs in zip(rounds[name], rounds[other], strict=True)
        ]

    found = {}
    if name in _SDKS and _REFERENCE in rounds:
        metrics = ("complete_p50_ms", "steps_per_second")
        return {f"{metric}_of_python": against(_REFERENCE, _divided(metric, metric)) for metric in metrics}
    if isinstance(rounds[name][0], ServiceRound):
        compared = _COMPARED.get(name, {}) if IN_PROCESS in rounds else {}
        return {f"{ours}_of_chain": against(IN_PROCESS, _divided(ours, theirs)) for ours, theirs in compared.items()}
    if LIMIT in rounds and name not in (LIMIT, NEIGHBOUR):
        found["share_of_bare"] = against(LIMIT, lambda a, b: a["steps_per_second"] / b["steps_per_second"])
    if NEIGHBOUR in rounds and name not in (LIMIT, NEIGHBOUR):
        with_creation = "steps_per_second_with_creation"
        found["times_dbos"] = against(NEIGHBOUR, lambda a, b: a[with_creation] / b[with_creation])
        found["p50_times_dbos"] = against(NEIGHBOUR, lambda a, b: b["p50_ms"] / a["p50_ms"])
    return found


def _divided(ours: str, theirs: str) -> Callable[[Mapping[str, float], Mapping[str, float]], float]:
    return lambda a, b: a[ours] / b[theirs]


def targets(found: Mapping[str, Mapping[str, float]]) -> list[tuple[Target, float]]:
    """Return the targets that this run can judge, with the values it saw."""
    return [
        (target, found[target.subject][target.metric])
        for target in TARGETS
        if target.metric in found.get(target.subject, {})
    ]


def document(rounds: Rounds) -> dict[str, Any]:
    """Return all results as JSON wants them: every round, the medians, the targets."""
    found = medians(rounds)
    return {
        "benchmarks": {
            name: {
                "title": TITLES[name],
                "medians": found[name],
                "rounds": [one.to_dict() for one in rounds[name]],
            }
            for name in rounds
        },
        "targets": [
            {
                "text": target.text,
                "subject": target.subject,
                "metric": target.metric,
                "value": value,
                "met": target.met_by(value),
            }
            for target, value in targets(found)
        ],
    }


def show(console: Console, rounds: Rounds) -> None:
    """Print the tables."""
    found = medians(rounds)
    tables = (
        _latency_table(found),
        _bulk_table(rounds, found),
        _service_latency_table(found),
        _service_rate_table(rounds, found),
        _sdk_table(rounds, found),
    )
    for table in tables:
        if table.row_count:
            console.print(table)
    for target, value in targets(found):
        verdict = "[green]met[/]   " if target.met_by(value) else "[red]missed[/]"
        console.print(f" {verdict}  {target.text}: {value * target.scale:,.1f}{target.unit}")


def _latency_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table("One task at a time, submit to complete", "p50 ms", "p99 ms", "p50 vs\nDBOS")
    for name, values in found.items():
        if "p50_ms" in values:
            table.add_row(
                TITLES[name],
                f"[bold]{values['p50_ms']:.2f}[/]",
                f"{values['p99_ms']:.2f}",
                _cell(values, "p50_times_dbos", "{:.1f} x"),
            )
    return table


def _bulk_table(rounds: Rounds, found: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table(
        "In bulk",
        "created\ntasks/s",
        "run\ntasks/s",
        "run\nsteps/s",
        "spread",
        "CPU µs\na step",
        "of bare\nloop",
        "vs\nDBOS",
    )
    for name, values in found.items():
        if isinstance(rounds[name][0], ServiceRound):
            continue
        table.add_row(
            TITLES[name],
            _cell(values, "created_per_second", "{:,.0f}"),
            f"{values['tasks_per_second']:,.0f}",
            f"[bold]{values['steps_per_second']:,.0f}[/]",
            _spread(rounds[name], values, "steps_per_second"),
            f"{values['python_us_per_step']:,.0f}",
            _cell(values, "share_of_bare", "{:.0%}"),
            _cell(values, "times_dbos", "{:.0f} x"),
        )
    return table


def _service_latency_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table("Over HTTP, one at a time", "p50 ms", "p99 ms", "target", "CPU µs\nserver", "p50 vs\nchain")
    for line in _LATENCIES:
        values = found.get(line.subject, {})
        p50 = f"{line.metric}_p50_ms"
        if p50 in values:
            table.add_row(
                line.text,
                f"[bold]{values[p50]:.2f}[/]",
                f"{values[f'{line.metric}_p99_ms']:.2f}",
                _bound(line.subject, p50),
                _cell(values, f"{line.metric}_server_us", "{:,.0f}"),
                _cell(values, f"{p50}_of_chain", "{:.1f} x"),
            )
    return table


def _service_rate_table(rounds: Rounds, found: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table(
        "Over HTTP, in bulk",
        "a second",
        "spread",
        "target",
        "CPU µs\nserver",
        "CPU µs\nworker",
        "of\nchain",
    )
    for line in _RATES:
        values = found.get(line.subject, {})
        rate = f"{line.metric}_per_second"
        if rate in values:
            table.add_row(
                line.text,
                f"[bold]{values[rate]:,.0f}[/]",
                _spread(rounds[line.subject], values, rate),
                _bound(line.subject, rate),
                _cell(values, "server_us", "{:,.0f}"),
                _cell(values, "worker_us", "{:,.0f}"),
                _cell(values, f"{rate}_of_chain", "{:.0%}"),
            )
    return table


def _sdk_table(rounds: Rounds, found: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table(
        "Workers of all languages, chain of 4 over HTTP",
        "p50 ms",
        "p99 ms",
        "vs\nPython",
        "steps/s",
        "spread",
        "CPU µs\nworker",
        "of\nPython",
    )
    for name in _SDKS:
        if name in found:
            values = found[name]
            table.add_row(
                TITLES[name],
                f"[bold]{values['complete_p50_ms']:.2f}[/]",
                f"{values['complete_p99_ms']:.2f}",
                _cell(values, "complete_p50_ms_of_python", "{:.1f} x"),
                f"[bold]{values['steps_per_second']:,.0f}[/]",
                _spread(rounds[name], values, "steps_per_second"),
                f"{values['worker_us']:,.0f}",
                _cell(values, "steps_per_second_of_python", "{:.0%}"),
            )
    return table


def _bound(subject: str, metric: str) -> str:
    return next((f"{one.bound:,.0f}" for one in TARGETS if (one.subject, one.metric) == (subject, metric)), "")


def _spread(rounds: Sequence[Round | ServiceRound], values: Mapping[str, float], metric: str) -> str:
    seen = [one.metrics()[metric] for one in rounds]
    return f"{(max(seen) - min(seen)) / values[metric]:.0%}"


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cell(values: Mapping[str, float], metric: str, form: str) -> str:
    return form.format(values[metric]) if metric in values else ""
