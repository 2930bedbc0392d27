"""The handler class for steps that call HTTP APIs."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.api import APIMixin, ApiResponse

__all__ = ["ApiHandler", "ApiResponse"]


class ApiHandler(APIMixin, StepHandler):
    """A `StepHandler` with the HTTP methods of `APIMixin`."""

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do, for people and tools."""
        return [*super().capabilities, *self.api_capabilities]
