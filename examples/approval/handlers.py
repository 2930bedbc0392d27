"""The approval's steps: the decision as a class, the others as decorated functions."""

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.errors import ValidationError
from tasker_core.step_handler import depends_on, inputs, step_handler
from tasker_core.step_handler.mixins import DecisionMixin


@step_handler("validate_request")
@inputs("employee", "purpose", "amount")
def validate_request(employee, purpose, amount):
    """Refuse what no policy covers. It is no better at the next attempt, so it fails for good."""
    if amount is None:
        raise ValidationError("the request has no amount", error_code="no_amount")
    if amount <= 0:
        raise ValidationError(f"the amount must be positive, not {amount:g}", error_code="bad_amount")
    return {"employee": employee, "purpose": purpose, "amount": amount}


class RouteExpenseHandler(DecisionMixin, StepHandler):
    """Chooses the approvals that an amount needs; where they begin is in the template."""

    handler_name = "expenses.route"

    def call(self, context: StepContext) -> StepHandlerResult:
        amount = context.get_dependency_field("validate_request", "amount")
        if amount < context.get_config("manager_from"):
            approvals = ["auto_approve"]
        elif amount < context.get_config("finance_from"):
            approvals = ["manager_approval"]
        else:
            approvals = ["manager_approval", "finance_review"]
        return self.decision_success(approvals, routing_context={"amount": amount})


# Stand-ins for people and their systems, who would be asked under the step's UUID as idempotency key.


@step_handler("auto_approve")
def auto_approve():
    return {"approved_by": "policy"}


@step_handler("manager_approval")
@depends_on(request="validate_request")
def manager_approval(request):
    return {"approved_by": f"manager of {request['employee']}"}


@step_handler("finance_review")
def finance_review():
    return {"approved_by": "finance"}


@step_handler("finalize")
@depends_on(
    request="validate_request",
    auto_approve="auto_approve",
    manager_approval="manager_approval",
    finance_review="finance_review",
)
def finalize(request, **approvals):
    """Gather the approvals. One that was not chosen does not exist, and its result is None."""
    given = {name: approval["approved_by"] for name, approval in approvals.items() if approval is not None}
    return {"amount": request["amount"], "approvals": given}
