"""From rounds to what people read: medians, ratios, the targets, the table and the JSON document."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Round
from benchmarks.subjects import TITLES

#: The subjects that the others are compared with.
LIMIT, NEIGHBOUR = "bare", "dbos"

Rounds = Mapping[str, Sequence[Round]]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise about the chain of four. ``scale`` turns the value into the unit that ``text`` speaks in."""

    text: str
    metric: str
    bound: float
    at_most: bool = False
    scale: float = 1.0
    unit: str = ""

    def met_by(self, value: float) -> bool:
        """Whether a value keeps the promise."""
        return value <= self.bound if self.at_most else value >= self.bound


TARGETS = (
    Target("at least 10,000 steps/s", "steps_per_second", 10_000, unit=" steps/s"),
    Target("p50 of one task at most 6 ms", "p50_ms", 6, at_most=True, unit=" ms"),
    Target("at least 40 % of the bare loop", "share_of_bare", 0.4, scale=100, unit=" %"),
)

#: The subject that the targets speak of.
_PROMISED = "chain"


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
    def against(other: str, ratio: Callable[[Round, Round], float]) -> list[float]:
        return [ratio(ours, theirs) for ours, theirs in zip(rounds[name], rounds[other], strict=True)]

    found = {}
    if LIMIT in rounds and name not in (LIMIT, NEIGHBOUR):
        found["share_of_bare"] = against(LIMIT, lambda a, b: a.steps_per_second / b.steps_per_second)
    if NEIGHBOUR in rounds and name not in (LIMIT, NEIGHBOUR):
        found["times_dbos"] = against(
            NEIGHBOUR, lambda a, b: a.steps_per_second_with_creation / b.steps_per_second_with_creation
        )
        found["p50_times_dbos"] = against(NEIGHBOUR, lambda a, b: b.metrics()["p50_ms"] / a.metrics()["p50_ms"])
    return found


def targets(found: Mapping[str, Mapping[str, float]]) -> list[tuple[Target, float]]:
    """Return the targets that this run can judge, with the values it saw."""
    promised = found.get(_PROMISED, {})
    return [(target, promised[target.metric]) for target in TARGETS if target.metric in promised]


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
            {"text": target.text, "metric": target.metric, "value": value, "met": target.met_by(value)}
            for target, value in targets(found)
        ],
    }


def show(console: Console, rounds: Rounds) -> None:
    """Print the tables."""
    found = medians(rounds)
    for table in (_latency_table(found), _bulk_table(rounds, found)):
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
        rates = [one.steps_per_second for one in rounds[name]]
        table.add_row(
            TITLES[name],
            _cell(values, "created_per_second", "{:,.0f}"),
            f"{values['tasks_per_second']:,.0f}",
            f"[bold]{values['steps_per_second']:,.0f}[/]",
            f"{(max(rates) - min(rates)) / values['steps_per_second']:.0%}",
            f"{values['python_us_per_step']:,.0f}",
            _cell(values, "share_of_bare", "{:.0%}"),
            _cell(values, "times_dbos", "{:.0f} x"),
        )
    return table


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
