"""Numbers about the past."""

from tasker_core.store import Store


class Analytics:
    """Numbers about the past."""

    def __init__(self, store: Store) -> None:
        self._store = store
