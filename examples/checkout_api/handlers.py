"""The checkout's steps as classes; those that call a service share a base class."""

import os

import httpx

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.errors import ValidationError
from tasker_core.step_handler import ApiHandler, ApiResponse


class ShopServiceHandler(ApiHandler):
    """Calls one of the shop's services; ``SHOP_API_URL`` says where they are."""

    base_url = os.environ.get("SHOP_API_URL", "http://127.0.0.1:8700")
    default_timeout = 5.0

    def send(self, context: StepContext, path: str, body: dict) -> StepHandlerResult:
        """Post a request and turn the answer into the step's result.

        The step's UUID, the same on every attempt, is the idempotency key: the service answers a repeated request
        with what it did the first time. 5xx, 408 and 429 are tried again, every other 4xx is final.
        """
        try:
            response = self.post(path, json=body, headers={"Idempotency-Key": str(context.step_uuid)})
        except httpx.ConnectError as error:
            return self.connection_error(error, f"calling {path}")
        except httpx.TimeoutException as error:
            return self.timeout_error(error, f"calling {path}")
        return self.api_success(response) if response.ok else self.refused(response)

    def refused(self, response: ApiResponse) -> StepHandlerResult:
        """Build the failure for an error status; services with error codes of their own override this."""
        return self.api_failure(response)


class ValidateCartHandler(StepHandler):
    handler_name = "shop.validate_cart"

    def call(self, context: StepContext) -> StepHandlerResult:
        prices = context.get_config("prices_cents")
        cart = context.get_input("cart")
        unknown = [line["sku"] for line in cart if line["sku"] not in prices]
        if unknown:
            raise ValidationError(f"unknown SKU: {', '.join(unknown)}", error_code="unknown_sku")
        total = sum(line["quantity"] * prices[line["sku"]] for line in cart)
        return self.success({"items": cart, "total_cents": total})


class ReserveInventoryHandler(ShopServiceHandler):
    handler_name = "shop.reserve_inventory"

    def call(self, context: StepContext) -> StepHandlerResult:
        items = context.get_dependency_field("validate_cart", "items")
        return self.send(context, "/reservations", {"items": items})


class AuthorizePaymentHandler(ShopServiceHandler):
    handler_name = "shop.authorize_payment"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.send(
            context,
            "/authorizations",
            {
                "amount_cents": context.get_dependency_field("validate_cart", "total_cents"),
                "token": context.get_input("payment_token"),
            },
        )

    def refused(self, response: ApiResponse) -> StepHandlerResult:
        if response.status_code == httpx.codes.PAYMENT_REQUIRED:
            return self.failure(response["message"], "card_declined", retryable=False, error_code=response["code"])
        return super().refused(response)


class CreateOrderHandler(StepHandler):
    handler_name = "shop.create_order"

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success(
            {
                "order_number": f"SO-{context.task_uuid}",
                "reservation_id": context.get_dependency_field("reserve_inventory", "reservation_id"),
                "authorization_id": context.get_dependency_field("authorize_payment", "authorization_id"),
                "total_cents": context.get_dependency_field("validate_cart", "total_cents"),
            }
        )


class SendConfirmationHandler(ShopServiceHandler):
    handler_name = "shop.send_confirmation"

    def call(self, context: StepContext) -> StepHandlerResult:
        order = context.get_dependency_result("create_order")
        return self.send(
            context,
            "/emails",
            {"to": context.get_input("email"), "subject": f"Your order {order['order_number']}"},
        )
