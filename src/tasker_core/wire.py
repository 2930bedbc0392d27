"""The worker protocol's messages: what is decoded, and how leases and reports become JSON and back.

JSON texts (contexts, results, inputs, checkpoints) are passed on as they are, without decoding and encoding them again.
docs/worker-protocol.md describes the messages.
"""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta, Raw, Struct

from tasker_core import identifiers, serialization
from tasker_core.step_source import AncestorResult, LeasedStep, LeaseKey, StepReport, TaskFacts

#: Most leases in one answer.
MAX_LEASES: Final = 1_000

#: Most results, leases or names in one request.
MAX_ITEMS: Final = 10_000

#: Longest time that a request may wait, in seconds.
MAX_WAIT_SECONDS: Final = 30.0

#: Results longer than this, in bytes of JSON, are left out for workers that take them lazily.
LAZY_RESULT_BYTES: Final = 64 * 1024

#: Code of the error that tells a worker to register again.
WORKER_UNKNOWN: Final = "WORKER_UNKNOWN"

#: Reasons why a result is refused.
LEASE_LOST: Final = "lease_lost"
DUPLICATE: Final = "duplicate"
MALFORMED: Final = "malformed"
NOT_RECORDABLE: Final = "not_recordable"

#: Longest text of an error that is kept, in characters.
_MESSAGE_LIMIT: Final = 10_000

#: Most definitions of steps that are kept encoded or decoded.
_DEFINITIONS_KEPT: Final = 10_000

_MOST_MILLISECONDS: Final = 2**31 - 1
_NULL: Final = Raw(b"null")


def _null() -> Any:
    # A default of its own has no JSON Schema.
    return msgspec.field(default_factory=lambda: _NULL)


#: Text that a database can store: without NUL.
_Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
_LeaseId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_Seconds = Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)]


class MalformedResultError(ValueError):
    """A result that cannot be taken as it is; the message says why."""


# Requests


class Registration(Struct, omit_defaults=True):
    """What a worker says of itself; with its ``worker_id``, what it takes from now on."""

    callables: Annotated[list[_Text], Meta(min_length=1, max_length=1_000)]
    name: _Text | None = None
    namespaces: Annotated[list[_Text], Meta(min_length=1, max_length=1_000)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    sdk: _Text | None = None
    hostname: _Text | None = None
    pid: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    lazy_results: bool = False
    worker_id: UUID | None = None


class LeaseName(Struct, frozen=True):
    """Names a lease."""

    step_uuid: UUID
    lease_id: _LeaseId

    @property
    def key(self) -> LeaseKey:
        """The lease's key."""
        return lease_key(self.step_uuid, self.lease_id)


class LeaseRequest(Struct):
    """Asks for work."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LEASES)]
    wait_seconds: _Seconds = 0.0


class ResultsRequest(Struct):
    """Asks for results that were left out of a lease."""

    step_uuid: UUID
    lease_id: _LeaseId
    names: Annotated[list[str], Meta(max_length=MAX_ITEMS)]


class HeartbeatRequest(Struct):
    """Renews leases."""

    leases: Annotated[list[LeaseName], Meta(max_length=MAX_ITEMS)]
    wait_seconds: _Seconds = 0.0


class ReleaseRequest(Struct):
    """Gives leases back."""

    leases: Annotated[list[LeaseName], Meta(max_length=MAX_ITEMS)]


class ReportRequest(Struct):
    """Reports results, each a ``Completion``, and asks for steps that they freed."""

    results: Annotated[list[Raw], Meta(max_length=MAX_ITEMS)]
    lease: Annotated[int, Meta(ge=0, le=MAX_LEASES)] = 0


class CheckpointRequest(Struct):
    """Reports one checkpoint."""

    step_uuid: UUID
    lease_id: _LeaseId
    items_processed: Annotated[int, Meta(ge=0)]
    cursor: Raw = _null()
    accumulated_results: Raw = _null()
    lease: Annotated[int, Meta(ge=0, le=1)] = 1


class ResultMetadata(Struct):
    """Facts about an attempt; ``custom`` is what the handler says itself."""

    execution_time_ms: float | None = None
    retryable: bool | None = None
    error_code: str | None = None
    error_type: str | None = None
    checkpoint_yield: bool | None = None
    custom: dict[str, Any] | None = None


class ResultError(Struct):
    """Why an attempt failed."""

    message: str | None = None
    error_type: str | None = None
    retryable: bool | None = None
    error_code: str | None = None
    backtrace: list[str] | None = None
    status_code: int | None = None
    context: dict[str, Any] | None = None


class BackoffHint(Struct):
    """When a called server wants to be called again."""

    delay_seconds: float | None = None


class OrchestrationMetadata(Struct):
    """What a called server said about trying again."""

    headers: dict[str, Any] | None = None
    backoff_hint: BackoffHint | None = None


class Completion(Struct):
    """The end of one attempt, or a checkpoint of it."""

    step_uuid: UUID
    lease_id: _LeaseId
    success: bool | None = None
    result: Raw = _null()
    metadata: ResultMetadata | None = None
    error: ResultError | None = None
    orchestration_metadata: OrchestrationMetadata | None = None
    checkpoint: Raw = _null()


# Answers, as a worker reads them


class Registered(Struct):
    """What a worker is told when it registers."""

    worker_id: str
    lease_seconds: float
    heartbeat_seconds: float
    max_wait_seconds: float


class _Task(Struct):
    task_uuid: UUID
    named_task_uuid: UUID
    context: Raw
    correlation_id: UUID
    priority: int
    initiator: str | None = None
    source_system: str | None = None
    reason: str | None = None
    tags: Raw = _null()
    parent_correlation_id: UUID | None = None


class _NamedTask(Struct):
    task: _Task
    task_name: str
    task_version: str
    namespace_name: str


class _WorkflowStep(Struct):
    name: str
    inputs: Raw = _null()
    checkpoint: Raw = _null()


class _EnvelopeMetadata(Struct):
    custom: Raw = _null()


class Envelope(Struct):
    """An ancestor's result."""

    step_uuid: str
    result: Raw
    metadata: _EnvelopeMetadata

    def ancestor(self, name: str) -> AncestorResult:
        """Return it as handlers get it."""
        return AncestorResult(name, self.step_uuid, _text(self.result), _text(self.metadata.custom))


class _SequenceStep(Struct):
    task: _NamedTask
    workflow_step: _WorkflowStep
    dependency_results: dict[str, Envelope | None]
    step_definition: Raw


class LeaseItem(Struct):
    """A leased step."""

    step_uuid: UUID
    lease_id: int
    attempt: int
    task_sequence_step: _SequenceStep
    reruns: int = 0
    omitted_results: list[str] = []

    @property
    def key(self) -> LeaseKey:
        """The lease."""
        return lease_key(self.step_uuid, self.lease_id)


class Leases(Struct):
    """Leased steps."""

    leases: list[LeaseItem]


class Refusal(Struct):
    """A result that was not recorded, and why."""

    reason: str
    step_uuid: UUID | None = None
    lease_id: int | None = None
    detail: str | None = None


class ReportReply(Struct):
    """What became of reported results."""

    refused: list[Refusal]
    leases: list[LeaseItem]
    more_ready: bool


class HeartbeatReply(Struct):
    """What became of renewed leases."""

    lost: list[LeaseName]
    cancelled: list[LeaseName]


class ResultsReply(Struct):
    """Results of ancestors by step name."""

    results: dict[str, Envelope | None]


# Conversions


def lease_key(step_uuid: UUID, lease_id: int) -> LeaseKey:
    """Return the key of a lease as it is named on the wire."""
    return LeaseKey(identifiers.task_uuid_of(step_uuid), identifiers.ordinal_of(step_uuid), lease_id)


def lease_name(key: LeaseKey) -> dict[str, Any]:
    """Return how a lease is named on the wire."""
    return {"step_uuid": identifiers.step_uuid(key.task_uuid, key.ordinal), "lease_id": key.lease_id}


def encode(body: object) -> bytes:
    """Encode a message."""
    return msgspec.json.encode(body)


def lease_item(step: LeasedStep, *, lease_seconds: float, lazy: bool) -> dict[str, Any]:
    """Return a leased step as it is sent, ready to be encoded.

    Args:
        step: the step.
        lease_seconds: how long the lease lasts.
        lazy: leave large results out, to be asked for.
    """
    task = step.task
    step_uuid = step.step_uuid
    # A dict, since an aggregator may have thousands of large results before it, and order matters.
    omitted = dict.fromkeys(
        a.name for a in step.ancestors if lazy and a.result is not None and len(a.result) > LAZY_RESULT_BYTES
    )
    return {
        # The same for the same lease, whichever answer brings it.
        "event_id": uuid5(step_uuid, str(step.key.lease_id)),
        "task_uuid": task.task_uuid,
        "step_uuid": step_uuid,
        "lease_id": step.key.lease_id,
        "attempt": step.attempt,
        "lease_seconds": lease_seconds,
        "correlation_id": task.correlation_id,
        "task_correlation_id": task.correlation_id,
        "parent_correlation_id": task.parent_correlation_id,
        "trace_id": None,
        "span_id": None,
        "task_sequence_step": {
            **step.task_and_step(Raw),
            "dependency_results": {a.name: None if a.name in omitted else envelope(a) for a in step.ancestors},
            "step_definition": _encoded_definition(step.definition),
        },
        "reruns": task.reruns,
        "omitted_results": list(omitted),
    }


def envelope(ancestor: AncestorResult) -> dict[str, Any]:
    """Return an ancestor's result as it is sent."""
    return {
        "step_uuid": ancestor.step_uuid,
        "success": True,
        "result": Raw(ancestor.result) if ancestor.result else None,
        "status": "completed",
        "metadata": {"custom": Raw(ancestor.metadata) if ancestor.metadata else {}},
        "error": None,
        "orchestration_metadata": None,
    }


def leased_step(item: LeaseItem, omitted: Mapping[str, AncestorResult] = MappingProxyType({})) -> LeasedStep:
    """Return the step of a lease that was received.

    Args:
        item: the lease.
        omitted: stand-ins for the results that it leaves out, by step name.
    """
    sequence = item.task_sequence_step
    named, task, step = sequence.task, sequence.task.task, sequence.workflow_step
    return LeasedStep(
        task=TaskFacts(
            task_uuid=task.task_uuid,
            name=named.task_name,
            namespace=named.namespace_name,
            version=named.task_version,
            named_task_uuid=task.named_task_uuid,
            context=_text(task.context) or "{}",
            correlation_id=task.correlation_id,
            parent_correlation_id=task.parent_correlation_id,
            priority=task.priority,
            initiator=task.initiator,
            source_system=task.source_system,
            reason=task.reason,
            tags=_text(task.tags),
            reruns=item.reruns,
        ),
        key=item.key,
        attempt=item.attempt,
        name=step.name,
        definition=_decoded_definition(sequence.step_definition),
        ancestors=[
            omitted[name] if result is None else result.ancestor(name)
            for name, result in sequence.dependency_results.items()
        ],
        inputs=_text(step.inputs),
        checkpoint=_text(step.checkpoint),
    )


def completion(report: StepReport) -> dict[str, Any]:
    """Return a report as it is sent."""
    error = report.error
    metadata: dict[str, Any] = {
        "execution_time_ms": report.execution_time_ms,
        "retryable": report.retryable,
        "custom": report.metadata,
    }
    if error is not None:
        metadata |= {"error_type": error["error_type"], "error_code": error.get("error_code")}
    return {
        **lease_name(report.lease),
        "success": report.success,
        "status": "completed" if report.success else "failed",
        "result": Raw(report.result) if report.result else {},
        "metadata": metadata,
        "error": error,
    }


def step_report(raw: Raw | bytes) -> StepReport:
    """Return the report that a received result is.

    Raises:
        MalformedResultError: the result is not what it should be.
    """
    try:
        received = _COMPLETION.decode(raw)
        return _checkpoint(received) if _text(received.checkpoint) else _ending(received)
    except (msgspec.MsgspecError, UnicodeDecodeError, serialization.SerializationError) as error:
        raise MalformedResultError(str(error)) from error
    except RecursionError as error:
        raise MalformedResultError("nested too deeply") from error


def named_in(raw: Raw) -> dict[str, Any]:
    """Return how a malformed result names its lease, as far as it does."""
    try:
        name = msgspec.json.decode(raw, type=LeaseName)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"step_uuid": None, "lease_id": None}
    return {"step_uuid": name.step_uuid, "lease_id": name.lease_id}


def checkpoint_report(request: CheckpointRequest) -> StepReport:
    """Return the report of a checkpoint.

    Raises:
        MalformedResultError: the checkpoint cannot be stored.
    """
    fields = {"cursor": request.cursor, "items_processed": request.items_processed}
    fields["accumulated_results"] = request.accumulated_results
    raw = encode({"step_uuid": request.step_uuid, "lease_id": request.lease_id, "checkpoint": fields})
    return step_report(raw)


def _checkpoint(received: Completion) -> StepReport:
    checkpoint = serialization.loads(bytes(received.checkpoint))
    if not isinstance(checkpoint, dict):
        raise MalformedResultError("checkpoint must be an object")
    # Null is the same as absent, and what a later checkpoint does not mention stays.
    fields = {key: value for key, value in checkpoint.items() if key != "accumulated_results" or value is not None}
    result = serialization.dumps({**fields, "type": "checkpoint_yield"})
    return StepReport(received_key(received), success=True, result=result, metadata={"checkpoint_yield": True})


def _ending(received: Completion) -> StepReport:
    if received.success is None:
        raise MalformedResultError("Object missing required field `success`")
    facts = received.metadata or ResultMetadata()
    metadata = _storable(facts.custom or {})
    if facts.checkpoint_yield:
        metadata["checkpoint_yield"] = True
    if received.orchestration_metadata is not None:
        metadata = {**_retry_hints(received.orchestration_metadata), **metadata}
    return StepReport(
        received_key(received),
        success=received.success,
        result=_checked_result(received.result) if received.success else None,
        metadata=metadata,
        error=None if received.success else _error(received.error or ResultError(), facts),
        execution_time_ms=round(min(max(facts.execution_time_ms or 0, 0), _MOST_MILLISECONDS)),
    )


def received_key(received: Completion) -> LeaseKey:
    """Return the lease of a received result."""
    return lease_key(received.step_uuid, received.lease_id)


def _error(error: ResultError, facts: ResultMetadata) -> dict[str, Any]:
    given = error.retryable if facts.retryable is None else facts.retryable
    code = facts.error_code or error.error_code
    found = {
        "error_type": _printable(error.error_type or facts.error_type or "handler_error"),
        "message": _printable(error.message or "the worker gave no message"),
        # As for an exception that nobody classified.
        "retryable": True if given is None else given,
        "error_code": _printable(code) if code else None,
        "backtrace": [_printable(line) for line in error.backtrace] if error.backtrace else None,
        "status_code": error.status_code,
        "context": _storable(error.context) if error.context else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _retry_hints(given: OrchestrationMetadata) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    if given.backoff_hint is not None and given.backoff_hint.delay_seconds is not None:
        hints["retry_after_seconds"] = given.backoff_hint.delay_seconds
    if given.headers:
        hints["headers"] = _storable(given.headers)
    return hints


def _checked_result(raw: Raw) -> str:
    """Return a result's text, once it is clear that it can be stored and read again."""
    text = bytes(raw).decode()
    value = serialization.loads(text)
    if "\\u0000" in text:
        serialization.dumps(value)
    return "{}" if value is None else text


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Return a value that can be stored; raises if it cannot."""
    if value:
        serialization.dumps(value)
    return value


def _printable(text: str) -> str:
    return text[:_MESSAGE_LIMIT].replace("\x00", "\\x00")


def _text(raw: Raw) -> str | None:
    """Return a value as JSON text; None for null."""
    text = bytes(raw).decode()
    return None if text == "null" else text


# Definitions of steps are few and the same again and again.

_encoded: OrderedDict[int, tuple[Mapping[str, Any], Raw]] = OrderedDict()
_decoded: OrderedDict[bytes, dict[str, Any]] = OrderedDict()


def _encoded_definition(definition: Mapping[str, Any]) -> Raw:
    found = _encoded.get(id(definition))
    # Held together with its text, so that the id stays its own.
    if found is None:
        found = _encoded[id(definition)] = (definition, Raw(encode(definition)))
        if len(_encoded) > _DEFINITIONS_KEPT:
            _encoded.popitem(last=False)
    return found[1]


def _decoded_definition(raw: Raw) -> dict[str, Any]:
    text = bytes(raw)
    found = _decoded.get(text)
    if found is None:
        found = _decoded[text] = serialization.loads(text)
        if len(_decoded) > _DEFINITIONS_KEPT:
            _decoded.popitem(last=False)
    return found


_COMPLETION = msgspec.json.Decoder(Completion)
