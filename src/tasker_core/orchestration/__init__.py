"""Use cases: here the pure decisions of ``engine`` meet the verbs of ``store``."""

from tasker_core.engine.operations import IllegalMoveError
from tasker_core.orchestration.create_tasks import DuplicateTaskError, InvalidTaskError, TaskRequest
from tasker_core.orchestration.local_source import LocalStepSource
from tasker_core.orchestration.operations import DeadLetterNotFoundError, StepNotFoundError, TaskNotFoundError
from tasker_core.orchestration.service import Engine
from tasker_core.orchestration.template_registry import TemplateConflictError, TemplateNotFoundError
from tasker_core.store import TaskFilter

__all__ = [
    "DeadLetterNotFoundError",
    "DuplicateTaskError",
    "Engine",
    "IllegalMoveError",
    "InvalidTaskError",
    "LocalStepSource",
    "StepNotFoundError",
    "TaskFilter",
    "TaskNotFoundError",
    "TaskRequest",
    "TemplateConflictError",
    "TemplateNotFoundError",
]
