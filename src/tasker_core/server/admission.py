"""Whether more work is accepted, from facts of the database."""

from dataclasses import dataclass

from tasker_core.orchestration import Engine


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """When creation of tasks is refused for a while."""


class Admission:
    """Looks at the backlog every few seconds and says whether more tasks are accepted."""

    def __init__(self, engine: Engine, limits: AdmissionLimits) -> None:
        self._engine = engine
        self._limits = limits

    async def run(self) -> None:
        """Look until cancelled."""

    def require(self, namespace: str) -> None:
        """Refuse, if a namespace can take no more tasks just now.

        Raises:
            ApiError: 503 ``BACKPRESSURE`` with ``Retry-After``.
        """
