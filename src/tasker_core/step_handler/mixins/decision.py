"""Results that route a task: which steps to create next, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tasker_core.types import DecisionPointOutcome, DecisionType, StepHandlerResult

if TYPE_CHECKING:
    from tasker_core.step_handler.mixins.api import ApiResponse

    RoutingContext: TypeAlias = Mapping[str, Any] | ApiResponse | None

_NO_REASON = "No branches"


@dataclass(frozen=True)
class Decision:
    """What a `decision_handler` function returns."""

    outcome: DecisionPointOutcome

    @classmethod
    def route(cls, steps: list[str], **routing_context: Any) -> Decision:
        """Go on with the named steps of the template."""
        return cls(DecisionPointOutcome.create_steps(steps, routing_context=routing_context))

    @classmethod
    def skip(cls, reason: str, **routing_context: Any) -> Decision:
        """Go on with none of the decision's steps."""
        return cls(DecisionPointOutcome.no_branches(reason, routing_context=routing_context))


class DecisionMixin:
    """Builds the results of a decision step.

    Step names must be steps of the task's template; the engine checks them. ``routing_context``
    is free data about the decision, kept with the result. All metadata also names the handler.
    """

    if TYPE_CHECKING:
        # StepHandler defines these; the mixin is of no use without it.
        @property
        def name(self) -> str:
            """The handler's name."""

        @property
        def version(self) -> str:
            """The handler's version."""

    @property
    def decision_capabilities(self) -> list[str]:
        """What the mixin adds to a handler's capabilities."""
        return ["decision", "routing"]

    def decision_success(
        self,
        steps: list[str] | DecisionPointOutcome | Decision,
        routing_context: RoutingContext = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Go on with ``steps``, or as a whole outcome says.

        ``routing_context`` adds to what an outcome has of its own. Raises
        ``pydantic.ValidationError`` if ``steps`` is not a list of strings.
        """
        if isinstance(steps, Decision):
            outcome = steps.outcome
        elif isinstance(steps, DecisionPointOutcome):
            outcome = steps
        else:
            outcome = DecisionPointOutcome.create_steps(steps)
        outcome = outcome.model_copy(
            update={"routing_context": {**outcome.routing_context, **_as_mapping(routing_context)}}
        )
        if outcome.decision_type is DecisionType.NO_BRANCHES:
            return self.decision_no_branches(outcome, metadata)
        return self.decision_success_with_outcome(outcome, metadata)

    def decision_success_with_outcome(
        self, outcome: DecisionPointOutcome, metadata: Mapping[str, Any] | None = None
    ) -> StepHandlerResult:
        """Report an outcome object; one without branches loses its reason, see `decision_no_branches`."""
        result: dict[str, Any] = {
            "decision_point_outcome": {
                "type": outcome.decision_type.value,
                "step_names": outcome.next_step_names,
            }
        }
        if outcome.dynamic_steps:
            result["dynamic_steps"] = outcome.dynamic_steps
        return self._decided(result, outcome.routing_context, metadata)

    def route_to_steps(
        self,
        step_names: list[str],
        routing_context: RoutingContext = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Go on with the named steps."""
        return self.decision_success(step_names, routing_context, metadata)

    def skip_branches(
        self,
        reason: str,
        routing_context: RoutingContext = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Succeed without going on to any of the decision's steps."""
        result = {"decision_point_outcome": {"type": DecisionType.NO_BRANCHES.value}, "reason": reason}
        return self._decided(result, routing_context, metadata)

    def decision_no_branches(
        self,
        outcome: DecisionPointOutcome | Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """The same as `skip_branches`, from an outcome object or from a dict with a ``reason``."""
        if isinstance(outcome, DecisionPointOutcome):
            return self.skip_branches(outcome.reason or _NO_REASON, outcome.routing_context, metadata)
        return self.skip_branches(outcome.get("reason") or _NO_REASON, outcome.get("routing_context"), metadata)

    def decision_failure(
        self,
        message: str,
        error_type: str = "decision_error",
        retryable: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Fail because no decision can be made; by default another attempt would not help."""
        return StepHandlerResult.failure(message, error_type, retryable, self._signed(metadata))

    def _decided(
        self, result: dict[str, Any], routing_context: RoutingContext, metadata: Mapping[str, Any] | None
    ) -> StepHandlerResult:
        context = _as_mapping(routing_context)
        if context:
            result["routing_context"] = context
        return StepHandlerResult.success(result, self._signed(metadata))

    def _signed(self, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**(metadata or {}), "decision_handler": self.name, "decision_version": self.version}


def _as_mapping(routing_context: RoutingContext) -> dict[str, Any]:
    if routing_context is None:
        return {}
    if isinstance(routing_context, Mapping):
        return dict(routing_context)
    return routing_context.to_dict()
