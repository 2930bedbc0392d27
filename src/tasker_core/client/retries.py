"""Whether and when a request is made again. Pure: time and chance come from outside."""

from dataclasses import dataclass
from typing import Final

#: Answers that another attempt may improve.
PASSING_STATUSES: Final = frozenset({408, 429, 502, 503, 504})

#: Longest pause before the first repeat, in seconds; it doubles with each further one.
_FIRST_PAUSE: Final = 0.2

#: Longest pause that the client chooses by itself, in seconds.
_LONGEST_PAUSE: Final = 5.0

#: Longest ``Retry-After`` that is waited for, in seconds. A server that asks for more gets no repeat.
LONGEST_RETRY_AFTER: Final = 30.0


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed.

    Attributes:
        unsent: there was no connection, so the server cannot have seen the request.
        status: what was answered; None if nothing was.
        retry_after: seconds that the server asks to wait.
    """

    unsent: bool = False
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is repeated.

    Attributes:
        max_retries: most repeats after the first attempt.
        budget: seconds after the first attempt began beyond which none begins.
    """

    max_retries: int
    budget: float

    def pause(self, failure: Failure, *, repeatable: bool, retries: int, elapsed: float, chance: float) -> float | None:
        """Return the seconds to wait before the next attempt; None if there should be none.

        A request that must not be carried out twice (not ``repeatable``) is repeated only if it cannot have
        reached the server.

        Args:
            failure: how the last attempt ended.
            repeatable: whether carrying the request out twice does no harm.
            retries: repeats so far.
            elapsed: seconds since the first attempt began.
            chance: a random number from 0 to 1, which spreads the pauses of many clients.
        """
        may_help = failure.status is None or failure.status in PASSING_STATUSES
        if not may_help or retries >= self.max_retries or not (repeatable or failure.unsent):
            return None
        if failure.retry_after is not None and failure.retry_after > LONGEST_RETRY_AFTER:
            return None
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(retries, 16))
        pause = (failure.retry_after or 0.0) + longest * chance
        return pause if elapsed + pause <= self.budget else None
