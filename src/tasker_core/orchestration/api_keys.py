"""API keys: made, listed, revoked, and found by what they hash to."""

from tasker_core.store import Store


class ApiKeys:
    """API keys: made, listed, revoked, and found by what they hash to."""

    def __init__(self, store: Store) -> None:
        self._store = store
