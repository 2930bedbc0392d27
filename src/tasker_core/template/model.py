"""The template model: what a workflow definition says, after aliases and defaults are settled.

Attribute names are exactly the canonical keys of the YAML format, so the classes double as its data
dictionary.

Everything here is immutable. The JSON values inside (``initialization``, the schemas, ``composition``) are
plain dicts and lists because that is what JSON encoders want; treat them as read-only.
`TaskTemplate.from_dict` copies what it is given and ``to_dict`` hands out copies, so no caller can change a
template through either.
"""

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self, TypeAlias

import msgspec

#: A JSON Schema: an object, or ``true`` / ``false`` for "anything" / "nothing".
JsonSchema: TypeAlias = dict[str, Any] | bool

#: The override name that stands for every step of the template.
ALL_STEPS = "ALL"


class StepType(StrEnum):
    """How a step comes into being and what its result may do."""

    STANDARD = "standard"
    DECISION = "decision"
    DEFERRED_CONVERGENCE = "deferred_convergence"
    BATCHABLE = "batchable"
    BATCH_WORKER = "batch_worker"


class Backoff(StrEnum):
    """How the delay between attempts grows."""

    NONE = "none"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    FIBONACCI = "fibonacci"


class IdentityStrategy(StrEnum):
    """When two requests for a task are the same request."""

    STRICT = "strict"
    CALLER_PROVIDED = "caller_provided"
    ALWAYS_UNIQUE = "always_unique"


class EventCondition(StrEnum):
    """Which outcome of a step publishes an event."""

    SUCCESS = "success"
    FAILURE = "failure"
    RETRYABLE_FAILURE = "retryable_failure"
    PERMANENT_FAILURE = "permanent_failure"
    ALWAYS = "always"


class DeliveryMode(StrEnum):
    """How an event travels: stored, in process only, or both."""

    DURABLE = "durable"
    FAST = "fast"
    BROADCAST = "broadcast"


class FailureStrategy(StrEnum):
    """What a failed batch means for the batches beside it and the step that gathers them."""

    CONTINUE_ON_FAILURE = "continue_on_failure"
    FAIL_FAST = "fail_fast"
    ISOLATE = "isolate"


class StalenessAction(StrEnum):
    """What happens to a task that exceeds a lifecycle limit; ``none`` only reports it."""

    DLQ = "dlq"
    ERROR = "error"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Information for people; nothing acts on it. The times are RFC 3339 text."""

    author: str | None = None
    tags: tuple[str, ...] = ()
    documentation_url: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemDependencies:
    """The external systems a task talks to; informational."""

    primary: str = "default"
    secondary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """An entry in the task's catalogue of events; publishing is declared on steps."""

    name: str
    description: str | None = None
    schema: JsonSchema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEvent:
    """An event that a step publishes once its result is stored.

    Attributes:
        name: dotted lower-case name; the first segment is the namespace, the last one the action.
        description: what happened, for readers of the catalogue.
        schema: what payloads look like.
        condition: the outcome that publishes the event.
        delivery_mode: how it travels.
        publisher: the class that builds the payload; None for the step's result as it is.
    """

    name: str
    description: str
    schema: JsonSchema
    condition: EventCondition = EventCondition.SUCCESS
    delivery_mode: DeliveryMode = DeliveryMode.DURABLE
    publisher: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerReference:
    """Which code runs a step.

    Attributes:
        callable: registry key, class path or short name of the handler.
        method: method to call; None means ``call``.
        resolver: the one resolver that may look the callable up; None tries them all.
        initialization: configuration handed to the handler. Read-only.
    """

    callable: str
    method: str | None = None
    resolver: str | None = None
    initialization: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed step is tried again.

    Attributes:
        retryable: whether a failed step is tried again at all.
        max_attempts: all attempts, the first included; 0 behaves as 1.
        backoff: how the delay grows.
        backoff_base_ms: delay before the second attempt, in milliseconds.
        max_backoff_ms: longest delay, in milliseconds.
    """

    retryable: bool = True
    max_attempts: int = 3
    backoff: Backoff = Backoff.EXPONENTIAL
    backoff_base_ms: int = 1_000
    max_backoff_ms: int = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How a batch worker's share of the work is cut.

    Attributes:
        batch_size: items per batch.
        parallelism: batches that may run at the same time.
        cursor_field: the field that orders the items.
        worker_template: the ``batch_worker`` step to copy; None means the step that carries this
            configuration, or, on a ``batchable`` step, the one that depends on it.
        failure_strategy: what a failed batch means for the others.
    """

    batch_size: int = 1_000
    parallelism: int = 10
    cursor_field: str = "id"
    worker_template: str | None = None
    failure_strategy: FailureStrategy = FailureStrategy.CONTINUE_ON_FAILURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """How long a task may take, in minutes, and what happens when it takes longer.

    None leaves a limit to the engine's configuration.
    """

    max_duration_minutes: int | None = None
    max_waiting_for_dependencies_minutes: int | None = None
    max_waiting_for_retry_minutes: int | None = None
    max_steps_in_process_minutes: int | None = None
    staleness_action: StalenessAction = StalenessAction.DLQ
    auto_fail_on_timeout: bool | None = None
    auto_dlq_on_timeout: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTemplate:
    """One step of a task.

    Attributes:
        name: identity within the task, and the key of its result for later steps.
        handler: the code that runs it.
        description: for people.
        type: how the step is created and what its result may do.
        system_dependency: the external system it talks to; informational.
        dependencies: names of the steps it waits for.
        retry: when a failure is tried again.
        timeout_seconds: longest run of one attempt; None leaves it to the worker.
        publishes_events: events that follow from its outcome.
        batch_config: how batches are cut; required on a ``batch_worker``.
        result_schema: what results look like.
        composition: reserved for declarative steps; kept as written.
    """

    name: str
    handler: HandlerReference
    description: str | None = None
    type: StepType = StepType.STANDARD
    system_dependency: str | None = None
    dependencies: tuple[str, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    timeout_seconds: int | None = None
    publishes_events: tuple[PublishedEvent, ...] = ()
    batch_config: BatchConfig | None = None
    result_schema: JsonSchema | None = None
    composition: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the step in canonical form, defaults included, as fresh JSON data."""
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOverride:
    """What an environment changes about a handler; its keys win over the step's, one level deep."""

    initialization: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOverride:
    """What an environment changes about one step, or about every step if ``name`` is ``ALL``."""

    name: str
    handler: HandlerOverride | None = None
    timeout_seconds: int | None = None
    retry: RetryPolicy | None = None

    def apply(self, step: StepTemplate) -> StepTemplate:
        """Return a step that the override names as the override leaves it."""
        handler = step.handler
        if self.handler is not None:
            handler = replace(handler, initialization=handler.initialization | self.handler.initialization)
        return replace(
            step,
            handler=handler,
            retry=step.retry if self.retry is None else self.retry,
            timeout_seconds=step.timeout_seconds if self.timeout_seconds is None else self.timeout_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The overrides of one environment, applied in the order they are written."""

    steps: tuple[EnvironmentOverride, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTemplate:
    """A workflow definition.

    Attributes:
        name: name within the namespace.
        namespace_name: the group of tasks that workers subscribe to.
        version: matched exactly; there are no ranges and no "latest".
        description: for people.
        metadata: for people.
        system_dependencies: the external systems it talks to; informational.
        domain_events: catalogue of events.
        input_schema: what a task's context looks like; None accepts any.
        steps: the steps; a step's position is its ordinal.
        environments: overrides by environment name; empty once resolved.
        lifecycle: time limits; None leaves them all to the engine's configuration.
        identity_strategy: when two requests are the same request.
        strict_results: whether a result that breaks its ``result_schema`` fails the step.
    """

    name: str
    namespace_name: str
    version: str
    description: str | None = None
    metadata: Metadata | None = None
    system_dependencies: SystemDependencies = SystemDependencies()
    domain_events: tuple[DomainEvent, ...] = ()
    input_schema: JsonSchema | None = None
    steps: tuple[StepTemplate, ...] = ()
    environments: dict[str, Environment] = field(default_factory=dict)
    lifecycle: Lifecycle | None = None
    identity_strategy: IdentityStrategy = IdentityStrategy.STRICT
    strict_results: bool = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a template from its canonical form.

        Only types are checked; read a template that people wrote with `load_text`.

        Raises:
            ValueError: the data does not have the canonical shape.
        """
        return msgspec.convert(msgspec.to_builtins(data), cls)

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical form, defaults included, as fresh JSON data; `from_dict` reads it."""
        return _plain(self)

    @property
    def identity(self) -> str:
        """The ``namespace/name/version`` under which the template is registered."""
        return f"{self.namespace_name}/{self.name}/{self.version}"

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the canonical form as JSON with sorted keys."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def step(self, name: str) -> StepTemplate:
        """Return the step of that name.

        Raises:
            KeyError: there is no such step.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def resolve(self, environment: str | None) -> Self:
        """Return the template as it runs in an environment, without ``environments`` and so self-contained.

        Overrides apply in the order they are written, so an ``ALL`` wins over the entries before it. None and
        environments that the template does not mention change no step.
        """
        chosen = self.environments.get(environment) if environment is not None else None
        steps = {step.name: step for step in self.steps}
        for override in chosen.steps if chosen is not None else ():
            for name in tuple(steps) if override.name == ALL_STEPS else (override.name,):
                if name in steps:
                    steps[name] = override.apply(steps[name])
        return replace(self, steps=tuple(steps.values()), environments={})


def _plain(value: TaskTemplate | StepTemplate) -> dict[str, Any]:
    # Through JSON, so that tuples become the lists that a reader of stored JSON sees.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain
