from typing import Any, Protocol
from uuid import uuid4

import pytest

from tasker_core.types import FfiStepEvent, StepContext


class MakeContext(Protocol):
    def __call__(
        self,
        input_data: dict[str, Any] | None = None,
        *,
        results: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        checkpoint: dict[str, Any] | None = None,
        attempts: int = 0,
        max_attempts: int = 3,
    ) -> StepContext: ...


def make_event(payload: dict[str, Any]) -> FfiStepEvent:
    return FfiStepEvent(
        event_id=str(uuid4()),
        task_uuid=str(uuid4()),
        step_uuid=str(uuid4()),
        correlation_id=str(uuid4()),
        task_sequence_step=payload,
    )


@pytest.fixture(name="make_event")
def make_event_fixture():
    return make_event


@pytest.fixture
def make_context() -> MakeContext:
    """Contexts as a worker gets them: ``results`` are handler results, put into their envelopes here."""

    def make(
        input_data=None,
        *,
        results=None,
        config=None,
        inputs=None,
        checkpoint=None,
        attempts=0,
        max_attempts=3,
    ):
        payload = {
            "task": {"task": {"context": input_data}},
            "dependency_results": {
                name: {"success": True, "result": result} for name, result in (results or {}).items()
            },
            "step_definition": {"handler": {"callable": "h", "initialization": config}},
            "workflow_step": {
                "attempts": attempts,
                "max_attempts": max_attempts,
                "inputs": inputs,
                "checkpoint": checkpoint,
            },
        }
        return StepContext.from_ffi_event(make_event(payload), "h")

    return make
