"""Read-only views of a step event's payload, with the engine's defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = Mapping[str, Any]


def unwrap_result(entry: Any) -> Any:
    """Take a handler's result out of the envelope a finished step is stored in.

    Only one level is taken off, and a value without an envelope is returned as it is.
    """
    if isinstance(entry, dict) and "result" in entry:
        return entry["result"]
    return entry


@dataclass
class HandlerWrapper:
    """Which handler the template names for a step, and how to call it."""

    callable: str
    initialization: dict[str, Any] = field(default_factory=dict)
    handler_method: str | None = None
    resolver: str | None = None

    @classmethod
    def from_dict(cls, data: JsonObject | None) -> HandlerWrapper:
        """Read a template's ``handler`` object; its ``method`` becomes ``handler_method``."""
        data = data or {}
        return cls(
            callable=data.get("callable") or "",
            initialization=data.get("initialization") or {},
            handler_method=data.get("method"),
            resolver=data.get("resolver"),
        )


@dataclass
class StepDefinitionWrapper:
    """A step as its template defines it; ``timeout_seconds`` defaults to 30."""

    name: str
    description: str
    handler: HandlerWrapper
    dependencies: list[str] = field(default_factory=list)
    retry: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 30
    publishes_events: list[Any] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: JsonObject | None) -> StepDefinitionWrapper:
        """Read a ``step_definition`` object."""
        data = data or {}
        return cls(
            name=data.get("name") or "",
            description=data.get("description") or "",
            handler=HandlerWrapper.from_dict(data.get("handler")),
            dependencies=data.get("dependencies") or [],
            retry=data.get("retry") or {},
            timeout_seconds=data.get("timeout_seconds") or 30,
            publishes_events=data.get("publishes_events") or [],
        )


@dataclass
class WorkflowStepWrapper:
    """A step's row as it was when the worker took it; times are ISO 8601 strings."""

    workflow_step_uuid: str
    task_uuid: str
    name: str
    named_step_uuid: str | None = None
    retryable: bool = True
    max_attempts: int = 3
    in_process: bool = False
    processed: bool = False
    processed_at: str | None = None
    attempts: int = 0
    last_attempted_at: str | None = None
    backoff_request_seconds: int = 0
    inputs: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    created_at: str | None = None
    updated_at: str | None = None

    @classmethod
    def from_dict(cls, data: JsonObject | None) -> WorkflowStepWrapper:
        """Read a ``workflow_step`` object."""
        data = data or {}
        return cls(
            workflow_step_uuid=data.get("workflow_step_uuid") or "",
            task_uuid=data.get("task_uuid") or "",
            name=data.get("name") or "",
            named_step_uuid=data.get("named_step_uuid"),
            retryable=data.get("retryable", True),
            max_attempts=data.get("max_attempts") or 3,
            in_process=data.get("in_process", False),
            processed=data.get("processed", False),
            processed_at=data.get("processed_at"),
            attempts=data.get("attempts") or 0,
            last_attempted_at=data.get("last_attempted_at"),
            backoff_request_seconds=data.get("backoff_request_seconds") or 0,
            inputs=data.get("inputs") or {},
            results=data.get("results") or {},
            created_at=data.get("created_at"),
            updated_at=data.get("updated_at"),
        )


@dataclass
class TaskWrapper:
    """The task a step belongs to."""

    task_uuid: str
    context: dict[str, Any] = field(default_factory=dict)
    namespace_name: str = ""
    task_name: str = ""
    task_version: str = ""
    correlation_id: str | None = None
    parent_correlation_id: str | None = None

    @classmethod
    def from_dict(cls, data: JsonObject | None) -> TaskWrapper:
        """Read a ``task`` object, flat or with the row under an inner ``task`` key.

        The names beside an inner ``task`` win over names inside it.
        """
        outer = data or {}
        row: JsonObject = outer.get("task") or outer

        def name(key: str) -> str:
            return outer.get(key) or row.get(key) or ""

        return cls(
            task_uuid=row.get("task_uuid") or "",
            context=row.get("context") or {},
            namespace_name=name("namespace_name"),
            task_name=name("task_name"),
            task_version=name("task_version"),
            correlation_id=row.get("correlation_id"),
            parent_correlation_id=row.get("parent_correlation_id"),
        )


@dataclass
class DependencyResultsWrapper:
    """The results of earlier steps, by step name."""

    results: JsonObject = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: JsonObject | None) -> DependencyResultsWrapper:
        """Wrap a ``dependency_results`` object."""
        return cls(data or {})

    def get_result(self, name: str) -> Any:
        """The step's whole entry, with its envelope; None if missing."""
        return self.results.get(name)

    def get_results(self, name: str) -> Any:
        """What the step's handler returned, without the envelope; None if missing."""
        return unwrap_result(self.results.get(name))

    def keys(self) -> KeysView[str]:
        """The step names."""
        return self.results.keys()

    def __getitem__(self, name: str) -> Any:
        return self.get_result(name)

    def __contains__(self, name: object) -> bool:
        return name in self.results

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)


@dataclass
class TaskSequenceStepWrapper:
    """A step event's whole payload."""

    task: TaskWrapper
    workflow_step: WorkflowStepWrapper
    dependency_results: DependencyResultsWrapper
    step_definition: StepDefinitionWrapper

    @classmethod
    def from_dict(cls, data: JsonObject | None) -> TaskSequenceStepWrapper:
        """Read an event's ``task_sequence_step``; absent parts get their defaults."""
        data = data or {}
        return cls(
            task=TaskWrapper.from_dict(data.get("task")),
            workflow_step=WorkflowStepWrapper.from_dict(data.get("workflow_step")),
            dependency_results=DependencyResultsWrapper.from_dict(data.get("dependency_results")),
            step_definition=StepDefinitionWrapper.from_dict(data.get("step_definition")),
        )

    def get_task_field(self, name: str) -> Any:
        """A value of the task's context; None if absent."""
        return self.task.context.get(name)

    def get_dependency_result(self, name: str) -> Any:
        """What the named step's handler returned; None if missing."""
        return self.dependency_results.get_results(name)

    def get_results(self, name: str) -> Any:
        """The same as `get_dependency_result`."""
        return self.get_dependency_result(name)
