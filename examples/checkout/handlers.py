"""The checkout's steps as decorated functions."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from tasker_core.errors import PermanentError, RetryableError, ValidationError
from tasker_core.step_handler import depends_on, inputs, step_handler

#: Price list: SKU to unit price in cents.
PRICES = {"MUG-01": 1_250, "TEE-XL": 2_400, "CAP-RD": 1_800}

FREE_SHIPPING_FROM_CENTS = 5_000
SHIPPING_CENTS = 490


# Stand-ins for the shop's other systems. They keep what they did by idempotency key, as the real ones do.


class GatewayBusyError(Exception):
    """The payment gateway asks for another try."""


class CardDeclinedError(Exception):
    """The card issuer said no."""


@dataclass
class PaymentGateway:
    """Busy at the first request with a new key, like a gateway behind a cold connection pool."""

    authorizations: dict[str, int] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def authorize(self, *, token: str, amount_cents: int, idempotency_key: str) -> str:
        """Authorize an amount once for each key; a repeated key gets the first answer again."""
        if idempotency_key not in self._seen:
            self._seen.add(idempotency_key)
            raise GatewayBusyError("503 gateway busy")
        if token == "tok_declined":
            raise CardDeclinedError("the issuer declined the card: insufficient funds")
        self.authorizations.setdefault(idempotency_key, amount_cents)
        return f"auth_{idempotency_key}"


@dataclass
class OrderBook:
    """Keeps one order a key, as a table with a unique key and ON CONFLICT DO NOTHING would."""

    orders: dict[str, dict[str, object]] = field(default_factory=dict)

    def insert_once(self, key: str, order: dict[str, object]) -> dict[str, object]:
        """Insert an order unless the key has one, and return the order of the key."""
        return self.orders.setdefault(key, order)


GATEWAY = PaymentGateway()
ORDERS = OrderBook()


# What steps hand on.


class CartLine(BaseModel):
    sku: str
    quantity: int


class CartInput(BaseModel):
    cart: list[CartLine]


class PricedLine(CartLine):
    unit_price_cents: int


class PricedCart(BaseModel):
    lines: list[PricedLine]
    subtotal_cents: int
    shipping_cents: int
    total_cents: int


class Authorization(BaseModel):
    authorization_id: str
    amount_cents: int


class Order(BaseModel):
    order_number: str
    total_cents: int
    authorization_id: str
    reservation_id: str


# The steps.


@step_handler("validate_cart")
@inputs(CartInput)
def validate_cart(inputs, context):
    """Price the cart. What is wrong with it now is wrong at every attempt, so it fails for good."""
    max_quantity = context.get_config("max_quantity")
    unknown = [line.sku for line in inputs.cart if line.sku not in PRICES]
    if unknown:
        raise ValidationError(f"unknown SKU: {', '.join(unknown)}", error_code="unknown_sku")
    for line in inputs.cart:
        if not 1 <= line.quantity <= max_quantity:
            raise ValidationError(
                f"quantity of {line.sku} must be 1 to {max_quantity}, not {line.quantity}", error_code="bad_quantity"
            )
    lines = [PricedLine(**line.model_dump(), unit_price_cents=PRICES[line.sku]) for line in inputs.cart]
    subtotal = sum(line.quantity * line.unit_price_cents for line in lines)
    shipping = 0 if subtotal >= FREE_SHIPPING_FROM_CENTS else SHIPPING_CENTS
    return PricedCart(lines=lines, subtotal_cents=subtotal, shipping_cents=shipping, total_cents=subtotal + shipping)


@step_handler("reserve_inventory")
@depends_on(cart=("validate_cart", PricedCart))
def reserve_inventory(cart, context):
    """Hold the items. The hold expires by itself, so a checkout that fails later leaves nothing to undo."""
    return {
        "reservation_id": f"res_{context.step_uuid}",
        "items": {line.sku: line.quantity for line in cart.lines},
        "expires_at": datetime.now(UTC) + timedelta(minutes=15),
    }


@step_handler("authorize_payment")
@depends_on(cart=("validate_cart", PricedCart))
@inputs("payment_token")
def authorize_payment(cart, payment_token, context):
    """Authorize the total.

    An attempt may be cut off after the gateway said yes and before the result is recorded. The step's UUID is the
    same on every attempt, so as idempotency key it keeps the next one from charging a second time.
    """
    try:
        authorization_id = GATEWAY.authorize(
            token=payment_token, amount_cents=cart.total_cents, idempotency_key=str(context.step_uuid)
        )
    except GatewayBusyError as error:
        raise RetryableError(str(error)) from error
    except CardDeclinedError as error:
        raise PermanentError(str(error), error_code="card_declined") from error
    return Authorization(authorization_id=authorization_id, amount_cents=cart.total_cents)


@step_handler("create_order")
@depends_on(
    cart=("validate_cart", PricedCart),
    authorization=("authorize_payment", Authorization),
    reservation="reserve_inventory",
)
def create_order(cart, authorization, reservation, context):
    """Join both branches. Inserted under the step's UUID, the order exists once however often this runs."""
    order = Order(
        order_number=f"SO-{context.task_uuid}",
        total_cents=cart.total_cents,
        authorization_id=authorization.authorization_id,
        reservation_id=reservation["reservation_id"],
    )
    return ORDERS.insert_once(str(context.step_uuid), order.model_dump())


@step_handler("send_confirmation")
@depends_on(order=("create_order", Order))
@inputs("email")
async def send_confirmation(order, email, context):
    """Send the e-mail; the message id lets the mail service drop a repeated one."""
    return {
        "message_id": f"<{context.step_uuid}@shop.example>",
        "to": email,
        "subject": f"Your order {order.order_number}",
    }


@step_handler("update_loyalty_points")
@depends_on(order=("create_order", Order))
@inputs("customer_id")
def update_loyalty_points(order, customer_id):
    """One point for each whole unit of currency."""
    return {"customer_id": customer_id, "points_earned": order.total_cents // 100}
