"""The workers that speak to this server."""

from tasker_core.orchestration import Engine


class WorkerSessions:
    """What this server knows of remote workers; any other server can take over, since the database has it all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
