"""The handler class for steps that route their task."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.decision import DecisionMixin

__all__ = ["DecisionHandler"]


class DecisionHandler(DecisionMixin, StepHandler):
    """A `StepHandler` with the results of `DecisionMixin`."""

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do, for people and tools."""
        return [*super().capabilities, *self.decision_capabilities]
