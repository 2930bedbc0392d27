"""Templates that tasks may be created from by name."""

from tasker_core.orchestration.plans import Plans
from tasker_core.store import Store


class TemplateRegistry:
    """Templates that tasks may be created from by name."""

    def __init__(self, store: Store, plans: Plans) -> None:
        self._store = store
        self._plans = plans
