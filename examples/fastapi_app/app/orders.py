"""Orders: taken, looked at, cancelled."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from pydantic import BaseModel

from tasker_core import get_health_check
from tasker_core.client import (
    AsyncTaskerClient,
    ConflictError,
    ResourceNotFoundError,
    TaskResponse,
    ValidationFailedError,
)

router = APIRouter()


class NewOrder(BaseModel):
    stems: dict[str, int]
    recipient: str
    deliver_on: date


class OrderView(BaseModel):
    order_id: UUID
    status: str
    percent: float
    steps: dict[str, str]
    card: str | None = None


def tasker(request: Request) -> AsyncTaskerClient:
    return request.app.state.tasker


Tasker = Annotated[AsyncTaskerClient, Depends(tasker)]


@router.post("/orders", status_code=202)
async def take_order(
    order: NewOrder, client: Tasker, idempotency_key: Annotated[str | None, Header()] = None
) -> OrderView:
    """Take an order. Sent twice with the same ``Idempotency-Key``, it is one order."""
    keyed = {"idempotency_key": idempotency_key, "return_existing": True} if idempotency_key else {}
    try:
        task = await client.create_task(
            "deliver_bouquet",
            namespace="florist",
            context=order.model_dump(mode="json"),
            reason=f"A bouquet for {order.recipient}",
            **keyed,
        )
    except ValidationFailedError as error:
        raise HTTPException(422, error.details) from error
    return shown(task)


@router.get("/orders/{order_id}")
async def look_at_order(order_id: UUID, client: Tasker, wait: bool = False) -> OrderView:
    """Show how far an order is; with ``wait``, once nothing moves any more."""
    try:
        task = await (client.wait(order_id, timeout=20) if wait else client.get_task(order_id))
        card = None
        if task.status == "complete":
            steps = await client.list_task_steps(order_id)
            card = next(step.results["result"]["text"] for step in steps if step.name == "write_card")
    except ResourceNotFoundError as error:
        raise HTTPException(404, "there is no such order") from error
    return shown(task, card)


@router.delete("/orders/{order_id}")
async def cancel_order(order_id: UUID, client: Tasker) -> OrderView:
    """Cancel an order that is still under way."""
    try:
        await client.cancel_task(order_id, reason="The customer changed their mind")
    except ResourceNotFoundError as error:
        raise HTTPException(404, "there is no such order") from error
    except ConflictError as error:
        raise HTTPException(409, "the order is on its way") from error
    return shown(await client.get_task(order_id))


@router.get("/health")
async def health() -> dict[str, Any]:
    return {"worker": get_health_check().status}


def shown(task: TaskResponse, card: str | None = None) -> OrderView:
    return OrderView(
        order_id=UUID(task.task_uuid),
        status=task.status,
        percent=task.completion_percentage,
        steps={step["name"]: step["current_state"] for step in task.steps},
        card=card,
    )
