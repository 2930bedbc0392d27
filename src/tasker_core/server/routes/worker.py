"""The worker protocol; docs/worker-protocol.md describes it.

Bodies are read and written by msgspec: these routes carry every step of every remote worker.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from fastapi import Request, Response

from tasker_core import wire
from tasker_core.access import Permission
from tasker_core.server.errors import ApiError, conflict, invalid
from tasker_core.server.routing import requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas import worker as schemas
from tasker_core.server.schemas.errors import errors
from tasker_core.server.worker_sessions import Session, WorkerSessions
from tasker_core.step_source import LeasedStep, LeaseKey, StepReport

router = new_router("worker", "/v1/worker")

_Body = TypeVar("_Body")

#: Where msgspec says in which field something is wrong.
_PLACE: Final = re.compile(r"(?P<message>.*) - at `\$\.?(?P<field>.*)`", re.DOTALL)

#: Seconds between heartbeats, as a share of the lease: two may fail before it ends.
_HEARTBEATS_A_LEASE: Final = 3

#: Most lost leases that one answer about malformed results explains.
_DETAIL_LIMIT: Final = 500

_FAILURES = errors(404, 410, 413, 422)


def _takes(body: type | None = None) -> dict[str, Any]:
    """Return what a route takes as ``openapi_extra``: its guard and its body."""
    extra = requires(Permission.WORKER_EXECUTE)
    if body is not None:
        content = {"application/json": {"schema": _schema(body)}}
        extra["requestBody"] = {"required": True, "content": content}
    return extra


def _schema(body: type) -> Any:
    """Return the JSON Schema of a body without references, which would lead nowhere in the OpenAPI document."""
    schema = msgspec.json.schema(body)
    definitions = schema.pop("$defs")

    def inlined(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return inlined(definitions[part["$ref"].rpartition("/")[2]])
            return {key: inlined(value) for key, value in part.items()}
        return [inlined(item) for item in part] if isinstance(part, list) else part

    return inlined(schema)


@router.post(
    "/register",
    summary="Register a worker",
    openapi_extra=_takes(wire.Registration),
    responses={200: {"model": schemas.Registered}, **_FAILURES},
)
async def register_worker(request: Request) -> Response:
    """Register a worker and learn the id that its other calls name; or, with that id, change what it takes."""
    registration = await _body(request, wire.Registration)
    address = request.client.host if request.client else "unknown"
    session = await _sessions(request).register(request.state.caller, registration, address)
    lease_seconds = session.source.lease_seconds
    return _reply(
        {
            "worker_id": session.worker_uuid,
            "lease_seconds": lease_seconds,
            "heartbeat_seconds": lease_seconds / _HEARTBEATS_A_LEASE,
            "max_wait_seconds": wire.MAX_WAIT_SECONDS,
            "namespaces": None if session.namespaces is None else sorted(session.namespaces),
        }
    )


@router.post(
    "/{worker_id}/lease",
    summary="Lease steps",
    openapi_extra=_takes(wire.LeaseRequest),
    responses={200: {"model": schemas.Leases}, **_FAILURES},
)
async def lease_steps(request: Request, worker_id: UUID) -> Response:
    """Lease steps that are ready; waits for some if asked to."""
    wanted = await _body(request, wire.LeaseRequest)
    session = await _session(request, worker_id)
    steps = await _sessions(request).lease(session, wanted.limit, wanted.wait_seconds, request)
    return _reply({"leases": _items(session, steps)})


@router.post(
    "/{worker_id}/report",
    summary="Report results",
    openapi_extra=_takes(wire.ReportRequest),
    responses={200: {"model": schemas.ReportReply}, **_FAILURES},
)
async def report_results(request: Request, worker_id: UUID) -> Response:
    """Report ends of attempts and checkpoints, and lease steps that they freed."""
    received = await _body(request, wire.ReportRequest)
    session = await _session(request, worker_id)
    reports: dict[LeaseKey, StepReport] = {}
    refused: list[dict[str, Any]] = []
    for raw in received.results:
        try:
            found = wire.step_report(raw)
        except wire.MalformedResultError as error:
            refused.append(_refusal(wire.named_in(raw), wire.MALFORMED, str(error)))
            continue
        if found.lease in reports:
            refused.append(_refusal(wire.lease_name(found.lease), wire.DUPLICATE))
        else:
            reports[found.lease] = found
    return await _recorded(request, session, reports, received.lease, refused)


@router.post(
    "/{worker_id}/checkpoint",
    summary="Report a checkpoint",
    openapi_extra=_takes(wire.CheckpointRequest),
    responses={200: {"model": schemas.ReportReply}, **_FAILURES},
)
async def report_checkpoint(request: Request, worker_id: UUID) -> Response:
    """Keep how far a step is, and lease it again."""
    received = await _body(request, wire.CheckpointRequest)
    session = await _session(request, worker_id)
    try:
        found = wire.checkpoint_report(received)
    except wire.MalformedResultError as error:
        raise invalid(f"The checkpoint cannot be stored: {error}") from error
    return await _recorded(request, session, {found.lease: found}, received.lease, [])


@router.post(
    "/{worker_id}/heartbeat",
    summary="Renew leases",
    openapi_extra=_takes(wire.HeartbeatRequest),
    responses={200: {"model": schemas.HeartbeatReply}, **_FAILURES},
)
async def renew_leases(request: Request, worker_id: UUID) -> Response:
    """Renew leases and learn which of them are lost; waits for that if asked to."""
    received = await _body(request, wire.HeartbeatRequest)
    session = await _session(request, worker_id)
    leases = list(dict.fromkeys(name.key for name in received.leases))
    lost, cancelled = await _sessions(request).heartbeat(session, leases, received.wait_seconds, request)
    return _reply(
        {
            "renewed": len(leases) - len(lost) - len(cancelled),
            "lost": [wire.lease_name(key) for key in sorted(lost)],
            "cancelled": [wire.lease_name(key) for key in sorted(cancelled)],
        }
    )


@router.post(
    "/{worker_id}/results",
    summary="Fetch results that a lease left out",
    openapi_extra=_takes(wire.ResultsRequest),
    responses={200: {"model": schemas.ResultsReply}, **errors(404, 409, 410, 413, 422)},
)
async def get_dependency_results(request: Request, worker_id: UUID) -> Response:
    """Return results of steps before a leased one."""
    wanted = await _body(request, wire.ResultsRequest)
    session = await _session(request, worker_id)
    step = await session.source.held(wire.lease_key(wanted.step_uuid, wanted.lease_id))
    if step is None:
        raise conflict("The lease is lost")
    found = {ancestor.name: ancestor for ancestor in step.ancestors}
    return _reply({"results": {n: wire.envelope(found[n]) if n in found else None for n in wanted.names}})


@router.post(
    "/{worker_id}/release",
    summary="Give leases back unused",
    openapi_extra=_takes(wire.ReleaseRequest),
    responses={200: {"model": schemas.WorkerStatus}, **_FAILURES},
)
async def release_leases(request: Request, worker_id: UUID) -> Response:
    """Give leases back unused; those that are lost are passed over."""
    received = await _body(request, wire.ReleaseRequest)
    session = await _session(request, worker_id)
    if received.leases:
        await session.source.release([name.key for name in received.leases])
    return _reply({"worker_id": worker_id, "status": "released"})


@router.post(
    "/{worker_id}/recover",
    summary="List all leases that a worker holds",
    openapi_extra=_takes(),
    responses={200: {"model": schemas.Leases}, **errors(404, 410)},
)
async def recover_leases(request: Request, worker_id: UUID) -> Response:
    """Return everything that the worker holds, such as leases whose grant got lost on the way."""
    session = await _session(request, worker_id)
    return _reply({"leases": _items(session, await session.source.recover())})


@router.post(
    "/{worker_id}/deregister",
    summary="Deregister a worker",
    openapi_extra=_takes(),
    responses={200: {"model": schemas.WorkerStatus}, **errors(404, 410)},
)
async def deregister_worker(request: Request, worker_id: UUID) -> Response:
    """Give back all leases that the worker still holds, and forget it."""
    session = await _session(request, worker_id)
    await _sessions(request).deregister(session)
    return _reply({"worker_id": worker_id, "status": "stopped"})


async def _recorded(
    request: Request,
    session: Session,
    reports: dict[LeaseKey, StepReport],
    want: int,
    refused: list[dict[str, Any]],
) -> Response:
    answer = await _sessions(request).report(session, list(reports.values()), want)
    refused += [_refusal(wire.lease_name(key), wire.LEASE_LOST) for key in sorted(answer.refused)]
    refused += [_refusal(wire.lease_name(key), wire.NOT_RECORDABLE, why) for key, why in answer.rejected.items()]
    accepted = [key for key in reports if key not in answer.refused and key not in answer.rejected]
    return _reply(
        {
            "accepted": [wire.lease_name(key) for key in accepted],
            "refused": refused,
            "leases": _items(session, answer.leased),
            "more_ready": answer.more_ready,
        }
    )


def _refusal(lease: dict[str, Any], reason: str, detail: str | None = None) -> dict[str, Any]:
    return {**lease, "reason": reason, "detail": detail[:_DETAIL_LIMIT] if detail else None}


def _items(session: Session, steps: Sequence[LeasedStep]) -> list[dict[str, Any]]:
    lease_seconds = session.source.lease_seconds
    return [wire.lease_item(step, lease_seconds=lease_seconds, lazy=session.lazy) for step in steps]


async def _body(request: Request, kind: type[_Body]) -> _Body:
    text = await request.body()
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        placed = _PLACE.fullmatch(str(error))
        message, field = (placed["message"], placed["field"] or "body") if placed else (str(error), "body")
        raise invalid("Request body failed validation", [{"field": field, "message": message}]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, "JSON_ERROR", f"Invalid JSON format: {error}") from error
    except RecursionError as error:
        raise ApiError(400, "JSON_ERROR", "Invalid JSON format: nested too deeply") from error


async def _session(request: Request, worker_id: UUID) -> Session:
    return await _sessions(request).find(worker_id, request.state.caller)


def _sessions(request: Request) -> WorkerSessions:
    sessions: WorkerSessions = request.app.state.worker_sessions
    return sessions


def _reply(body: dict[str, Any]) -> Response:
    return Response(wire.encode(body), media_type="application/json")
