"""The import's steps: the three roles of a batch as classes, what comes before as a function."""

import csv
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pydantic
from pydantic import BaseModel, Field

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.batch_processing import Batchable, BatchAggregationScenario
from tasker_core.errors import NotFoundError, ValidationError
from tasker_core.step_handler import inputs, step_handler

CATEGORIES = ("books", "garden", "kitchen", "toys")


class Product(BaseModel):
    sku: str
    name: str
    category: str
    price_cents: int
    stock: int


class Totals(BaseModel):
    """What was counted so far, of one batch or of all."""

    products: int = 0
    inventory_value_cents: int = 0
    products_by_category: Counter[str] = Field(default_factory=Counter)

    def add(self, product: Product) -> None:
        self.products += 1
        self.inventory_value_cents += product.price_cents * product.stock
        self.products_by_category[product.category] += 1

    def add_all(self, other: "Totals") -> None:
        self.products += other.products
        self.inventory_value_cents += other.inventory_value_cents
        self.products_by_category.update(other.products_by_category)


# The file.


def write_catalogue(path: Path, count: int) -> None:
    """Write a file of invented products, the same at every call.

    The file appears whole or not at all, so an attempt that is cut off leaves no half one.
    """
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, newline="", encoding="utf-8") as partial:
        writer = csv.writer(partial)
        writer.writerow(Product.model_fields)
        for n in range(count):
            category = CATEGORIES[n * 7 % 11 % len(CATEGORIES)]
            writer.writerow([f"P-{n:05}", f"{category} article {n}", category, 99 + n * 7919 % 19_900, n * 31 % 240])
    Path(partial.name).replace(path)


def read_catalogue(path: str, first: int, last: int) -> Iterator[Product]:
    """Read the products from ``first`` up to, but without, ``last``, counted from 0. A product is a line.

    Lines can be passed over without being parsed, so a batch at the end of a large file begins as soon as any other.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        (columns,) = csv.reader([file.readline()])
        rows = csv.DictReader(islice(file, first, last), columns)
        for row in rows:
            try:
                yield Product.model_validate(row)
            except pydantic.ValidationError as error:
                problem = error.errors()[0]
                raise ValidationError(
                    f"product {first + rows.line_num - 1} of {path}: {problem['loc'][0]}: {problem['msg']}",
                    error_code="bad_row",
                ) from error


# The steps.


@step_handler("fetch_catalogue")
@inputs("file", "products")
def fetch_catalogue(file, products, context):
    """Say where the file is; without one, make it, as a download would.

    Results travel to every later step, so it is the address of the data and not the data. All workers must reach
    it: with several machines it belongs in shared storage.
    """
    if file is not None:
        return {"file": file, "temporary": False}
    path = Path(tempfile.gettempdir()) / f"catalogue-{context.task_uuid}.csv"
    write_catalogue(path, products)
    return {"file": str(path), "temporary": True}


class DivideCatalogueHandler(StepHandler, Batchable):
    """The analyzer: counts the products and asks for one worker a batch; for none if the file is empty."""

    handler_name = "products.divide"

    def call(self, context: StepContext) -> StepHandlerResult:
        path = Path(context.get_dependency_field("fetch_catalogue", "file"))
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = max(0, sum(1 for _ in file) - 1)  # the first line names the columns
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {path}", error_code="no_catalogue") from error
        return self.batch_analyzer_success(
            self.create_batch_outcome(total_items=rows, batch_size=context.get_config("rows_per_batch")),
            worker_template_name=context.get_config("worker_template_name"),
        )


class ImportBatchHandler(StepHandler, Batchable):
    """The worker: reads its rows piece by piece, and saves after each piece how far it got and what it counted.

    A checkpoint ends this call; the next one, perhaps in another process, goes on from there. Rows that were read
    after the last checkpoint are read again, but what was counted of them is lost as well: nothing counts twice.
    """

    handler_name = "products.import_batch"

    def call(self, context: StepContext) -> StepHandlerResult:
        batch = self.get_batch_context(context)
        first = batch.checkpoint_cursor if batch.has_checkpoint() else batch.start_cursor
        last = min(first + context.get_config("rows_per_checkpoint"), batch.end_cursor)
        totals = Totals.model_validate(batch.accumulated_results or {})

        for product in read_catalogue(context.get_dependency_field("fetch_catalogue", "file"), first, last):
            totals.add(product)
        time.sleep(context.get_config("pause_seconds") or 0)
        self.note(context, batch.batch_id, first, last)

        if last < batch.end_cursor:
            return self.checkpoint_yield(last, last - batch.start_cursor, totals.model_dump(mode="json"))
        return self.batch_worker_success(batch, result=totals)

    def note(self, context: StepContext, batch_id: str, first: int, last: int) -> None:
        """Append to the journal who read what."""
        journal = context.get_input("journal")
        if journal is not None:
            line = json.dumps({"batch": batch_id, "first": first, "last": last, "pid": os.getpid()})
            with Path(journal).open("a", encoding="utf-8") as file:
                file.write(line + "\n")


class SummarizeHandler(StepHandler, Batchable):
    """The aggregator: adds up the batches, and names those that failed for good."""

    handler_name = "products.summarize"

    def call(self, context: StepContext) -> StepHandlerResult:
        scenario = BatchAggregationScenario.detect(context.dependency_results, "divide_catalogue", "import_batch_")
        fetched = context.get_dependency_result("fetch_catalogue")
        if fetched["temporary"]:
            Path(fetched["file"]).unlink(missing_ok=True)
        return self.aggregate_batch_worker_results(scenario, zero_metrics=add_up({}), aggregation_fn=add_up)


def add_up(results):
    """Add up the results of batch workers, by step name."""
    total = Totals()
    failed = sorted(name for name, result in results.items() if result.get("partial_failure"))
    for name, result in results.items():
        if name not in failed:
            total.add_all(Totals.model_validate(result))
    return {**total.model_dump(mode="json"), "failed_batches": failed}
