"""What is shown of a task beyond itself: its summary and the audit of its steps."""

from tasker_core.orchestration.plans import Plans
from tasker_core.store import Store


class TaskDetails:
    """What is shown of a task beyond itself: its summary and the audit of its steps."""

    def __init__(self, store: Store, plans: Plans) -> None:
        self._store = store
        self._plans = plans
