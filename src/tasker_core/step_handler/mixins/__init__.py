"""Abilities to add to a handler class, in any base order: ``class H(APIMixin, StepHandler)``."""

from tasker_core.step_handler.mixins.api import APIMixin, ApiResponse
from tasker_core.step_handler.mixins.decision import DecisionMixin

__all__ = ["APIMixin", "ApiResponse", "DecisionMixin"]
