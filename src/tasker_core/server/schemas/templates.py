"""Bodies of the template routes."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tasker_core.orchestration.template_registry import Outcome
from tasker_core.server.bodies import Body

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "name": "order",
    "namespace_name": "shop",
    "version": "1.0.0",
    "steps": [
        {"name": "validate", "handler": {"callable": "validate_order"}},
        {"name": "charge", "handler": {"callable": "charge_card"}, "dependencies": ["validate"]},
    ],
}


class TemplateBody(Body):
    """A template that is to be registered or checked, as JSON; ``force`` says that it may replace other content."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"template": _EXAMPLE}]})

    template: Annotated[dict[str, Any] | str, Field(description="The template, or its YAML text")]
    force: bool = False


class NamespaceSummary(BaseModel):
    """A namespace that has templates."""

    name: str
    description: str | None
    template_count: int


class TemplateSummary(BaseModel):
    """A registered template."""

    name: str
    namespace: str
    version: str
    description: str | None
    step_count: int
    registered_at: str
    registered_by: str | None


class TemplateList(BaseModel):
    """The templates; ``namespaces`` and ``total_count`` are not filtered by the query."""

    namespaces: list[NamespaceSummary]
    templates: list[TemplateSummary]
    total_count: int


class TemplateStep(BaseModel):
    """A step of a template."""

    name: str
    description: str | None
    type: str
    handler_callable: str
    dependencies: list[str]
    default_retryable: bool
    default_max_attempts: int
    result_schema: dict[str, Any] | bool | None


class TemplateDetail(BaseModel):
    """A template; ``configuration`` is always null, ``template`` is there only if it was asked for."""

    name: str
    namespace: str
    version: str
    description: str | None
    configuration: None
    steps: list[TemplateStep]
    template: dict[str, Any] | None = None


class HandlerReference(BaseModel):
    """What a step calls."""

    callable: str
    method: str | None
    resolver: str | None


class RegistrationBody(BaseModel):
    """A template is registered.

    ``handlers`` are what its steps call, each once, so that a worker which only passes the file on knows what it
    serves; ``warnings`` are what might be better about the template.
    """

    namespace: str
    name: str
    version: str
    digest: str
    outcome: Outcome
    handlers: list[HandlerReference]
    warnings: list[str]


class TemplateDeleted(BaseModel):
    """A template is not registered any more."""

    namespace: str
    name: str
    version: str
    deleted: bool


class TemplateVerdict(BaseModel):
    """What checking a template found."""

    valid: bool
    errors: list[str]
    warnings: list[str]
    required_capabilities: list[str]
    step_handlers: list[str]
