"""Use cases: here the pure decisions of ``engine`` meet the verbs of ``store``."""

from tasker_core.orchestration.create_tasks import InvalidTaskError, TaskRequest
from tasker_core.orchestration.local_source import LocalStepSource
from tasker_core.orchestration.service import Engine, TaskNotFoundError

__all__ = ["Engine", "InvalidTaskError", "LocalStepSource", "TaskNotFoundError", "TaskRequest"]
