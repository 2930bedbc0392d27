"""Which handler a step wants, as its template says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tasker_core.models import HandlerWrapper

_DEFAULT_METHOD = "call"


@dataclass
class HandlerDefinition:
    """A template's ``handler`` object.

    ``handler_method`` is called instead of ``call`` if set; ``resolver`` names the only resolver
    to ask; ``initialization`` configures the handler and is the step's ``step_config``.
    """

    callable: str
    handler_method: str | None = None
    resolver: str | None = None
    initialization: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_callable(cls, callable_name: str) -> Self:
        """Build a definition that says nothing but the callable."""
        return cls(callable_name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read a template's ``handler`` object, where the method's key is ``method``."""
        return cls.from_wrapper(HandlerWrapper.from_dict(data))

    @classmethod
    def from_wrapper(cls, wrapper: HandlerWrapper) -> Self:
        """Take over what a step event's `HandlerWrapper` says."""
        return cls(wrapper.callable, wrapper.handler_method, wrapper.resolver, wrapper.initialization)

    def effective_method(self) -> str:
        """The name of the method that executes the step."""
        return self.handler_method or _DEFAULT_METHOD

    def uses_method_dispatch(self) -> bool:
        """Whether that is another method than ``call``."""
        return self.effective_method() != _DEFAULT_METHOD

    def has_resolver_hint(self) -> bool:
        """Whether only one resolver is to be asked."""
        return bool(self.resolver)
