"""What a handler is given: the step's inputs, its dependencies' results, its retry state."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from tasker_core._types_step import FfiStepEvent
from tasker_core.models import TaskSequenceStepWrapper, unwrap_result

DEFAULT_MAX_RETRIES = 3


class StepContext(BaseModel):
    """Everything a handler may read about the step it is executing.

    - ``input_data``: the task's context, the same for every step of the task.
    - ``dependency_results``: what every step before this one returned, by step name. Read it
      through `get_dependency_result`, which takes the handler's result out of its envelope.
    - ``step_config``: ``handler.initialization`` of the template step.
    - ``step_inputs``: what was given to this step alone, such as a batch worker's cursor.
    - ``retry_count``: attempts made before this one, 0 on the first.
    - ``max_retries``: attempts allowed in all.

    Tests may build one with keywords. Workers use `from_ffi_event` or `for_execution`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    event: FfiStepEvent
    task_uuid: UUID
    step_uuid: UUID
    correlation_id: UUID
    handler_name: str
    input_data: dict[str, Any] = Field(default_factory=dict)
    dependency_results: dict[str, Any] = Field(default_factory=dict)
    step_config: dict[str, Any] = Field(default_factory=dict)
    step_inputs: dict[str, Any] = Field(default_factory=dict)
    retry_count: int = 0
    max_retries: int = DEFAULT_MAX_RETRIES

    _checkpoint: dict[str, Any] | None = PrivateAttr(default=None)
    _is_cancelled: Callable[[], bool] | None = PrivateAttr(default=None)
    _make_event: Callable[[], FfiStepEvent] | None = PrivateAttr(default=None)
    _read_results: Callable[[], dict[str, Any]] | None = PrivateAttr(default=None)
    _read_result: Callable[[str], dict[str, Any] | None] | None = PrivateAttr(default=None)
    # What was read one by one, so that a second look finds the same object.
    _read: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_ffi_event(
        cls,
        event: FfiStepEvent,
        handler_name: str,
        *,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Self:
        """Build a context from a step event, checking every part of it.

        Each part of ``event.task_sequence_step`` may be absent or null and then counts as
        empty. ``is_cancelled`` is what `StepContext.is_cancelled` asks.

        Raises ``ValueError`` for a malformed UUID and ``pydantic.ValidationError`` (also a
        ``ValueError``) for a part of the wrong type.
        """
        payload = event.task_sequence_step
        task = _child(payload, "task")
        task = _child(task, "task") if "task" in task else task
        step = _child(payload, "workflow_step")
        handler = _child(_child(payload, "step_definition"), "handler")

        context = cls(
            event=event,
            task_uuid=UUID(event.task_uuid),
            step_uuid=UUID(event.step_uuid),
            correlation_id=UUID(event.correlation_id),
            handler_name=handler_name,
            input_data=_present(task, "context", {}),
            dependency_results=_present(payload, "dependency_results", {}),
            step_config=_present(handler, "initialization", {}),
            step_inputs=_present(step, "inputs", {}),
            retry_count=_present(step, "attempts", 0),
            # Zero attempts allowed would be a step that may never run; it means "not set".
            max_retries=step.get("max_attempts") or DEFAULT_MAX_RETRIES,
        )
        context._is_cancelled = is_cancelled
        return context

    @classmethod
    def for_execution(
        cls,
        *,
        handler_name: str,
        task_uuid: UUID,
        step_uuid: UUID,
        correlation_id: UUID,
        input_data: dict[str, Any],
        dependency_results: Callable[[], dict[str, Any]],
        dependency_result: Callable[[str], dict[str, Any] | None],
        step_config: dict[str, Any],
        step_inputs: dict[str, Any],
        retry_count: int,
        max_retries: int,
        checkpoint: dict[str, Any] | None,
        make_event: Callable[[], FfiStepEvent],
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Self:
        """Build a context from values the engine itself produced, without checking them.

        Costs about two microseconds, for workers that start many steps a second. The dicts are
        kept, not copied. ``make_event`` is called once, when ``event`` is first read, which most
        handlers never do. ``dependency_results`` reads all results, ``dependency_result`` that of
        one step, each at most once: results may be large, and most handlers need few of them.
        ``checkpoint`` is the step's saved checkpoint, if it has one; ``is_cancelled`` is what
        `StepContext.is_cancelled` asks.
        """
        context = cls.__new__(cls)
        set_slot = object.__setattr__
        set_slot(
            context,
            "__dict__",
            {
                "task_uuid": task_uuid,
                "step_uuid": step_uuid,
                "correlation_id": correlation_id,
                "handler_name": handler_name,
                "input_data": input_data,
                "step_config": step_config,
                "step_inputs": step_inputs,
                "retry_count": retry_count,
                "max_retries": max_retries,
            },
        )
        set_slot(context, "__pydantic_fields_set__", set(_EXECUTION_FIELDS))
        set_slot(context, "__pydantic_extra__", None)
        set_slot(
            context,
            "__pydantic_private__",
            {
                "_checkpoint": checkpoint,
                "_is_cancelled": is_cancelled,
                "_make_event": make_event,
                "_read_results": dependency_results,
                "_read_result": dependency_result,
                "_read": {},
            },
        )
        return context

    # Hidden from type checkers so that they still report a misspelt attribute.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "event" and self._make_event is not None:
                event = self.__dict__["event"] = self._make_event()
                return event
            if name == "dependency_results" and self._read_results is not None:
                results = {**self._read_results(), **self._read}
                self.__dict__["dependency_results"] = results
                return results
            return super().__getattr__(name)

    @model_serializer(mode="wrap")
    def _serialize(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Pydantic reads fields from __dict__, where those that are read lazily may be missing.
        self.__dict__.setdefault("event", self.event)
        self.__dict__.setdefault("dependency_results", self.dependency_results)
        fields: dict[str, Any] = serialize(self)
        return fields

    def get_dependency_result(self, step_name: str) -> Any:
        """What the handler of ``step_name`` returned; None if there is no such result."""
        if self._read_result is None or "dependency_results" in self.__dict__:
            return unwrap_result(self.dependency_results.get(step_name))
        if step_name not in self._read:
            entry = self._read_result(step_name)
            if entry is None:
                return None
            self._read[step_name] = entry
        return unwrap_result(self._read[step_name])

    def get_dependency_field(self, step_name: str, *path: str) -> Any:
        """A value inside a dependency's result, one key a level; None if any level is missing."""
        value = self.get_dependency_result(step_name)
        for key in path:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def get_dependency_result_keys(self) -> list[str]:
        """The names of all steps whose results are at hand."""
        return list(self.dependency_results)

    def get_all_dependency_results(self, prefix: str) -> list[Any]:
        """The results of all steps whose name starts with ``prefix``, leaving out None."""
        results = (unwrap_result(entry) for name, entry in self.dependency_results.items() if name.startswith(prefix))
        return [result for result in results if result is not None]

    def get_input(self, key: str) -> Any:
        """A value of the task's context; None if absent."""
        return self.input_data.get(key)

    def get_input_or(self, key: str, default: Any = None) -> Any:
        """A value of the task's context; ``default`` if absent or None, not if merely falsy."""
        value = self.input_data.get(key)
        return default if value is None else value

    def get_task_field(self, name: str) -> Any:
        """The same as `get_input`."""
        return self.get_input(name)

    def get_config(self, key: str) -> Any:
        """A value of the template's ``handler.initialization``; None if absent."""
        return self.step_config.get(key)

    def is_retry(self) -> bool:
        """Whether an earlier attempt at this step failed."""
        return self.retry_count > 0

    def is_last_retry(self) -> bool:
        """Whether the step fails for good if this attempt does."""
        return self.retry_count >= self.max_retries - 1

    def is_cancelled(self) -> bool:
        """Whether the worker no longer wants this step's result.

        A long handler in plain ``def`` polls this and returns early; nobody interrupts it.
        Always False for a context that has no worker behind it.
        """
        return self._is_cancelled is not None and self._is_cancelled()

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint saved by an earlier execution of this step, if any."""
        if self._make_event is not None:
            return self._checkpoint
        saved = _child(self.event.task_sequence_step, "workflow_step").get("checkpoint")
        return saved if isinstance(saved, dict) else None

    @property
    def checkpoint_cursor(self) -> Any:
        """Where the checkpoint says to go on; None without one."""
        return (self.checkpoint or {}).get("cursor")

    @property
    def checkpoint_items_processed(self) -> int:
        """How many items were done when the checkpoint was saved; 0 without one."""
        items_processed: int = (self.checkpoint or {}).get("items_processed") or 0
        return items_processed

    @property
    def accumulated_results(self) -> Any:
        """The partial results kept in the checkpoint; None without one."""
        return (self.checkpoint or {}).get("accumulated_results")

    def has_checkpoint(self) -> bool:
        """Whether there is a cursor to go on from; 0 and "" are cursors too."""
        return self.checkpoint_cursor is not None

    @property
    def task_sequence_step(self) -> TaskSequenceStepWrapper:
        """The whole event payload, wrapped for reading; built anew on each access."""
        return TaskSequenceStepWrapper.from_dict(self.event.task_sequence_step)


_EXECUTION_FIELDS = frozenset(StepContext.model_fields) - {"event"}


def _child(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    value = mapping.get(key)
    return value if isinstance(value, dict) else {}


def _present(mapping: dict[str, Any], key: str, default: Any) -> Any:
    value = mapping.get(key)
    return default if value is None else value
