"""How much work waits, and for how long."""

from tasker_core.store import Store


class Backlog:
    """How much work waits, and for how long."""

    def __init__(self, store: Store) -> None:
        self._store = store
