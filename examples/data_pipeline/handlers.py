"""The pipeline's steps: async where they wait for files, plain functions where they compute."""

import asyncio
import csv
from collections import defaultdict
from datetime import date
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, Field

from tasker_core.errors import NotFoundError, PermanentError
from tasker_core.step_handler import depends_on, step_handler

HERE = Path(__file__).parent


class Period(BaseModel):
    """The days that are reported on, both included."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


class Sales(BaseModel):
    orders: int
    units_by_sku: dict[str, int]
    revenue_cents_by_customer: dict[str, int]


class Metrics(BaseModel):
    revenue_cents: int
    revenue_by_tier: dict[str, int]
    days_of_cover: dict[str, float | None]
    below_reorder_point: list[str]


@step_handler("extract_sales_data")
async def extract_sales_data(context):
    """The sales of the period.

    Rows travel as the step's result because they are few. An extract of real size belongs in object storage, and
    only its address in the result.
    """
    period = Period(**context.input_data)
    rows = await _read(context)
    sales = [row for row in rows if period.first <= date.fromisoformat(row["sold_on"]) <= period.last]
    if not sales:
        raise PermanentError(f"no sales from {period.first} to {period.last}", error_code="no_sales")
    return {"rows": sales}


@step_handler("extract_inventory_data")
async def extract_inventory_data(context):
    """The stock of every article in every warehouse."""
    return {"rows": await _read(context)}


@step_handler("extract_customer_data")
async def extract_customer_data(context):
    """All customers with region and tier."""
    return {"rows": await _read(context)}


@step_handler("transform_sales")
@depends_on(extract="extract_sales_data")
def transform_sales(extract):
    """Units by article, revenue by customer."""
    units: dict[str, int] = defaultdict(int)
    revenue: dict[str, int] = defaultdict(int)
    for row in extract["rows"]:
        quantity = int(row["quantity"])
        units[row["sku"]] += quantity
        revenue[row["customer_id"]] += quantity * int(row["unit_price_cents"])
    return Sales(orders=len(extract["rows"]), units_by_sku=units, revenue_cents_by_customer=revenue)


@step_handler("transform_inventory")
@depends_on(extract="extract_inventory_data")
def transform_inventory(extract):
    """Stock over all warehouses, and the articles to reorder."""
    on_hand: dict[str, int] = defaultdict(int)
    reorder_point: dict[str, int] = {}
    for row in extract["rows"]:
        on_hand[row["sku"]] += int(row["on_hand"])
        reorder_point[row["sku"]] = int(row["reorder_point"])
    return {"on_hand": on_hand, "below_reorder_point": sorted(s for s in on_hand if on_hand[s] < reorder_point[s])}


@step_handler("transform_customers")
@depends_on(extract="extract_customer_data")
def transform_customers(extract):
    """The tier of each customer."""
    return {"tiers": {row["customer_id"]: row["tier"] for row in extract["rows"]}}


@step_handler("aggregate_metrics")
@depends_on(sales=("transform_sales", Sales), inventory="transform_inventory", customers="transform_customers")
def aggregate_metrics(sales, inventory, customers, context):
    """Join the three: revenue by tier, and for how many days the stock lasts at the period's pace."""
    days = Period(**context.input_data).days
    by_tier: dict[str, int] = defaultdict(int)
    for customer, cents in sales.revenue_cents_by_customer.items():
        by_tier[customers["tiers"].get(customer, "unknown")] += cents
    cover = {
        sku: round(on_hand * days / sales.units_by_sku[sku], 1) if sales.units_by_sku.get(sku) else None
        for sku, on_hand in inventory["on_hand"].items()
    }
    return Metrics(
        revenue_cents=sum(by_tier.values()),
        revenue_by_tier=by_tier,
        days_of_cover=cover,
        below_reorder_point=inventory["below_reorder_point"],
    )


@step_handler("generate_insights")
@depends_on(metrics=("aggregate_metrics", Metrics))
def generate_insights(metrics, context):
    """Sentences for people, the most urgent first."""
    limit = context.get_config("alert_below_days")
    selling = {sku: days for sku, days in metrics.days_of_cover.items() if days is not None}
    urgent = sorted((days, sku) for sku, days in selling.items() if days < limit)
    best_tier = max(metrics.revenue_by_tier, key=metrics.revenue_by_tier.__getitem__)
    share = metrics.revenue_by_tier[best_tier] / metrics.revenue_cents
    return {
        "insights": [
            *(f"{sku} sells out in {days:g} days" for days, sku in urgent),
            *(f"reorder {sku}" for sku in metrics.below_reorder_point),
            f"{best_tier} customers bring {share:.0%} of revenue",
        ]
    }


async def _read(context):
    path = HERE / context.get_config("file")
    try:
        return await asyncio.to_thread(_rows, path, context.get_config("max_rows"))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no extract {path.name}") from error


def _rows(path: Path, limit: int | None) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(islice(csv.DictReader(file), limit))
