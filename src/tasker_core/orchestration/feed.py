"""State changes as they happen, in an order that can be resumed."""

from tasker_core.store import Store


class Feed:
    """State changes as they happen, in an order that can be resumed."""

    def __init__(self, store: Store) -> None:
        self._store = store
