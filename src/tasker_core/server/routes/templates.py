"""Templates: register, list, look at, forget."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from pydantic import TypeAdapter

from tasker_core import serialization
from tasker_core.access import Caller, Permission
from tasker_core.orchestration import TemplateNotFoundError
from tasker_core.server import bodies
from tasker_core.server.errors import ApiError, bad_request, invalid
from tasker_core.server.replies import reply
from tasker_core.server.routing import CallerParameter, EngineParameter, forbidden, requires
from tasker_core.server.routing import router as new_router
from tasker_core.server.schemas.errors import errors
from tasker_core.server.schemas.templates import (
    RegistrationBody,
    TemplateBody,
    TemplateDeleted,
    TemplateDetail,
    TemplateList,
    TemplateVerdict,
)
from tasker_core.template import Finding, Severity, StepTemplate, TaskTemplate, inspect_text

router = new_router("templates", prefix="/v1/templates")

#: Largest template, in bytes: thousands of steps fit, and the worst is read within seconds.
MAX_TEMPLATE_BYTES: Final = 512 * 1024

#: Findings of one severity that are shown.
_MOST_FINDINGS: Final = 200

_YAML_TYPES: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})

_TEMPLATE_BODY: Final = TypeAdapter(TemplateBody)

_TAKES_TEMPLATE: Final = bodies.described(TemplateBody)
_TAKES_TEMPLATE["requestBody"]["content"]["application/yaml"] = {"schema": {"type": "object", "title": "Template"}}

# Reading may take seconds, so it is not done between requests; and not too much of it at once.
_readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="template-reader")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A template that somebody sent; it is None if there are errors."""

    template: TaskTemplate | None
    findings: Sequence[Finding]
    has_lines: bool

    def sentences(self, severity: Severity) -> list[str]:
        """Return the findings of a severity in words."""
        found = [finding for finding in self.findings if finding.severity is severity]
        shown = [self.sentence(finding) for finding in found[:_MOST_FINDINGS]]
        return shown + ([f"and {len(found) - len(shown)} more"] if len(found) > len(shown) else [])

    def sentence(self, finding: Finding) -> str:
        """Return a finding in words."""
        place = (f"line {finding.line}" if finding.line else "") if self.has_lines else finding.key
        hint = f" ({finding.hint})" if finding.hint else ""
        return f"{place}: {finding.message}{hint}".removeprefix(": ")

    def error(self) -> ApiError:
        """Return the answer to a template that has errors."""
        found = [finding for finding in self.findings if finding.severity is Severity.ERROR]
        details = [
            {"field": finding.key or finding.code, "message": self.sentence(finding)}
            for finding in found[:_MOST_FINDINGS]
        ]
        number = "1 error" if len(found) == 1 else f"{len(found)} errors"
        return invalid(f"The template has {number}", details)


@router.get(
    "",
    openapi_extra=requires(Permission.TEMPLATES_READ),
    responses={200: {"model": TemplateList}, **errors()},
    summary="List templates",
)
async def list_templates(
    engine: EngineParameter, caller: CallerParameter, namespace: Annotated[str | None, Query()] = None
) -> Response:
    """List the registered templates, by namespace and name, the newest version first."""
    counts = await engine.templates.counts(caller.visible())
    templates = await engine.templates.list(caller.visible(None if namespace is None else [namespace]))
    return reply(
        {
            "namespaces": [
                {"name": name, "description": None, "template_count": count} for name, count in counts.items()
            ],
            "templates": templates,
            "total_count": sum(counts.values()),
        }
    )


@router.get(
    "/{namespace}/{name}/{version}",
    openapi_extra=requires(Permission.TEMPLATES_READ),
    responses={200: {"model": TemplateDetail}, **errors(404)},
    summary="Look at a template",
)
async def get_template(
    engine: EngineParameter,
    caller: CallerParameter,
    namespace: str,
    name: str,
    version: str,
    full: Annotated[bool, Query(description="With the whole definition.")] = False,
) -> Response:
    """Show a version of a template; ``latest`` is the newest one."""
    if not caller.may_enter(namespace):
        raise TemplateNotFoundError(namespace, name, version)
    template = await engine.templates.find(namespace, name, version)
    body = {
        "name": template.name,
        "namespace": template.namespace_name,
        "version": template.version,
        "description": template.description,
        "configuration": None,
        "steps": [_step(step) for step in template.steps],
    }
    return reply(body | {"template": template.to_dict()} if full else body)


@router.post(
    "",
    openapi_extra=requires(Permission.TEMPLATES_REGISTER) | _TAKES_TEMPLATE,
    responses={200: {"model": RegistrationBody}, **errors(409, 413, 415, 422)},
    summary="Register a template",
)
async def register_template(
    request: Request,
    engine: EngineParameter,
    caller: CallerParameter,
    force: Annotated[bool, Query(description="Whether other content of this version may be replaced.")] = False,
) -> Response:
    """Register a template, so that tasks can be created from it by name.

    Tasks that exist keep the content that they were created with.
    """
    reading, wants_force = await _read(request)
    template = reading.template
    if template is None:
        raise reading.error()
    _require_namespace(caller, template.namespace_name)
    registration = await engine.templates.register(template, actor=caller.subject, force=force or wants_force)
    return reply(
        {
            **registration._asdict(),
            "handlers": _handlers(template),
            "warnings": reading.sentences(Severity.WARNING),
        }
    )


@router.post(
    "/validate",
    openapi_extra=requires(Permission.TEMPLATES_VALIDATE) | _TAKES_TEMPLATE,
    responses={200: {"model": TemplateVerdict}, **errors(413, 415, 422)},
    summary="Check a template",
)
async def validate_template(request: Request) -> Response:
    """Check a template and store nothing."""
    reading, _ = await _read(request)
    steps = reading.template.steps if reading.template is not None else ()
    return reply(
        {
            "valid": reading.template is not None,
            "errors": reading.sentences(Severity.ERROR),
            "warnings": reading.sentences(Severity.WARNING),
            "required_capabilities": [],
            "step_handlers": sorted({step.handler.callable for step in steps}),
        }
    )


@router.delete(
    "/{namespace}/{name}/{version}",
    openapi_extra=requires(Permission.TEMPLATES_REGISTER),
    responses={200: {"model": TemplateDeleted}, **errors(404)},
    summary="Forget a template",
)
async def delete_template(
    engine: EngineParameter, caller: CallerParameter, namespace: str, name: str, version: str
) -> Response:
    """Let no more tasks be created from a version of a template; those that exist go on."""
    _require_namespace(caller, namespace)
    await engine.templates.delete(namespace, name, version)
    return reply({"namespace": namespace, "name": name, "version": version, "deleted": True})


def _require_namespace(caller: Caller, namespace: str) -> None:
    if not caller.may_enter(namespace):
        raise forbidden(f"The namespace '{namespace}' is not open to you")


def _handlers(template: TaskTemplate) -> list[dict[str, str | None]]:
    references = {(step.handler.callable, step.handler.method, step.handler.resolver) for step in template.steps}
    in_order = sorted(references, key=lambda reference: [part or "" for part in reference])
    return [dict(zip(("callable", "method", "resolver"), reference, strict=True)) for reference in in_order]


def _step(step: StepTemplate) -> dict[str, Any]:
    return {
        "name": step.name,
        "description": step.description,
        "type": step.type,
        "handler_callable": step.handler.callable,
        "dependencies": step.dependencies,
        "default_retryable": step.retry.retryable,
        "default_max_attempts": step.retry.max_attempts,
        "result_schema": step.result_schema,
    }


async def _read(request: Request) -> tuple[_Reading, bool]:
    """Return the template that a request carries, and whether its body asks for force."""
    body = await request.body()
    if len(body) > MAX_TEMPLATE_BYTES:
        raise ApiError(413, "PAYLOAD_TOO_LARGE", f"The template is larger than {MAX_TEMPLATE_BYTES} bytes")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in _YAML_TYPES:
        try:
            return await _inspected(body.decode("utf-8-sig"), has_lines=True), False
        except UnicodeDecodeError:
            raise bad_request("The body is not UTF-8 text") from None
    given = await bodies.read(request, _TEMPLATE_BODY)
    if isinstance(given.template, str):
        return await _inspected(given.template, has_lines=True), given.force
    # JSON is YAML.
    return await _inspected(serialization.dumps(given.template), has_lines=False), given.force


async def _inspected(text: str, *, has_lines: bool) -> _Reading:
    template, report = await asyncio.get_running_loop().run_in_executor(_readers, inspect_text, text)
    return _Reading(template, report.findings, has_lines)
