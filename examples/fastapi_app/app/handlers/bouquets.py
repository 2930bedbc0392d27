"""The steps of a bouquet's way from the order to the door."""

from datetime import date, timedelta
from typing import Self

from pydantic import BaseModel, model_validator

from tasker_core.errors import PermanentError, RetryableError
from tasker_core.step_handler.functional import depends_on, inputs, step_handler
from tasker_core.types import StepContext

#: Cents a stem.
PRICES = {"tulip": 150, "peony": 420, "eucalyptus": 90}

#: Stems that a bouquet may have.
MOST_STEMS = 60


class Order(BaseModel):
    """What a customer wants. An order that can never be filled is no reason to try again."""

    stems: dict[str, int]
    recipient: str
    deliver_on: date

    @model_validator(mode="after")
    def can_be_filled(self) -> Self:
        unknown = sorted(self.stems.keys() - PRICES.keys())
        if unknown:
            raise PermanentError(f"we do not grow {', '.join(unknown)}", error_code="unknown_flower")
        if not 1 <= sum(self.stems.values()) <= MOST_STEMS or min(self.stems.values()) < 1:
            raise PermanentError(f"a bouquet has 1 to {MOST_STEMS} stems", error_code="bad_size")
        return self


class PricedOrder(BaseModel):
    stems: dict[str, int]
    price_cents: int


class Bouquet(BaseModel):
    bouquet_id: str
    vase_life_days: int


class Route(BaseModel):
    van: str
    leaves_on: date


@step_handler("price_order")
@inputs(Order)
def price_order(inputs: Order, context: StepContext):
    """Price what was ordered."""
    price = sum(PRICES[flower] * count for flower, count in inputs.stems.items())
    return PricedOrder(stems=inputs.stems, price_cents=price)


@step_handler("arrange_bouquet")
@depends_on(priced=("price_order", PricedOrder))
def arrange_bouquet(priced: PricedOrder, context: StepContext):
    """Bind it. Its id comes from the step, so that a second attempt binds the same bouquet."""
    return Bouquet(bouquet_id=f"bq-{context.step_uuid}", vase_life_days=5 + 2 * ("eucalyptus" in priced.stems))


@step_handler("plan_route")
@depends_on(priced=("price_order", PricedOrder))
@inputs(Order)
def plan_route(priced: PricedOrder, inputs: Order, context: StepContext):
    """Find a van. The planner is asleep at the first attempt, as planners are in the morning."""
    if context.retry_count == 0:
        raise RetryableError("the route planner is still asleep")
    van = "large" if sum(priced.stems.values()) > 30 else "small"
    return Route(van=van, leaves_on=inputs.deliver_on - timedelta(days=1))


@step_handler("write_card")
@depends_on(bouquet=("arrange_bouquet", Bouquet), route=("plan_route", Route))
@inputs(Order)
async def write_card(bouquet: Bouquet, route: Route, inputs: Order, context: StepContext):
    """Write the card that goes along."""
    return {
        "text": f"For {inputs.recipient}: enjoy them for {bouquet.vase_life_days} days.",
        "bouquet_id": bouquet.bouquet_id,
        "van": route.van,
    }
