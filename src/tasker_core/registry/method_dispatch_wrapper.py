"""Calling another method of a handler than ``call``."""

from collections.abc import Callable
from typing import Any


class MethodDispatchWrapper:
    """A handler whose ``call`` is a method of another one.

    Everything else is that handler's. Raises ``AttributeError`` if it has no such method.
    """

    def __init__(self, handler: Any, target_method: str) -> None:
        if not callable(getattr(handler, target_method, None)):
            raise AttributeError(  # noqa: TRY004 - the method is missing, as for any attribute
                f"Handler {type(handler).__name__} does not have method '{target_method}'"
            )
        self._handler = handler
        self._target_method = target_method

    @property
    def call(self) -> Callable[..., Any]:
        """The target method itself, so that one can see whether it is async."""
        method: Callable[..., Any] = getattr(self._handler, self._target_method)
        return method

    @property
    def handler(self) -> Any:
        """The wrapped handler."""
        return self._handler

    @property
    def target_method(self) -> str:
        """The name of the method that ``call`` is."""
        return self._target_method

    def unwrap(self) -> Any:
        """The wrapped handler."""
        return self._handler

    def __getattr__(self, name: str) -> Any:
        # Without this a copy made before __init__ ran would look for its handler forever.
        if name == "_handler":
            raise AttributeError(name)
        return getattr(self._handler, name)

    def __repr__(self) -> str:
        return f"MethodDispatchWrapper({self._handler!r}, {self._target_method!r})"
