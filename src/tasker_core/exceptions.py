"""Errors of running a worker, as opposed to those a handler raises (`tasker_core.errors`)."""


class TaskerError(Exception):
    """The base of this module's errors; unrelated to ``tasker_core.errors.TaskerError``."""


class WorkerNotInitializedError(TaskerError):
    """Something needed a running worker and there is none."""


class WorkerBootstrapError(TaskerError, RuntimeError):
    """A worker could not be started."""


class WorkerAlreadyRunningError(TaskerError):
    """A second worker was started in one process."""


class ConversionError(TaskerError):
    """A value cannot be turned into the JSON the engine exchanges with workers."""
