"""The first step: is this an application at all?"""

from pydantic import BaseModel

from tasker_core.errors import PermanentError
from tasker_core.step_handler import inputs, step_handler

#: Largest loan as a multiple of the monthly income.
MOST_INCOMES = 12


class Application(BaseModel):
    """What somebody applies for."""

    applicant: str
    income_cents: int
    amount_cents: int
    months: int


@step_handler("check_application")
@inputs(Application)
def check_application(inputs: Application, context) -> dict:
    """Refuse what nobody would lend, for good."""
    if inputs.amount_cents > MOST_INCOMES * inputs.income_cents:
        raise PermanentError(f"{inputs.applicant} asks for more than {MOST_INCOMES} incomes")
    return {"amount_cents": inputs.amount_cents, "months": inputs.months, "language": "Python"}
