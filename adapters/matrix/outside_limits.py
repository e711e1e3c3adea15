"""Rate limits: what the homeserver wants to be asked less often is not asked before its time (spec: Rate limiting)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from adapters.matrix.names import RATE_LIMITED
from adapters.outside_api import Outcome

DEFAULT_PAUSE_S = 2.0
"""When the server does not say how long to wait."""
FREE_AFTER = 20
"""So many successes in a row, and requests of that kind go out side by side again."""


@dataclass(slots=True)
class _Limited:
    until: float
    successes: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Limits:
    """One account's limits, by kind of request.

    After a refusal requests of that kind take turns, whichever lane they are from: without it every lane would try on
    its own as soon as the time is over, and all but one would be refused again.
    """

    def __init__(self) -> None:
        self._limited: dict[str, _Limited] = {}

    async def through(self, kind: str, act: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Carry a request out, unless the server wants it later; then the outcome says when."""
        limited = self._limited.get(kind)
        if limited is None:
            return self._noted(kind, await act())
        async with limited.turn:
            left_s = limited.until - time.monotonic()
            if left_s > 0:
                return Outcome(RATE_LIMITED, retry=True, retry_after_s=left_s)
            return self._noted(kind, await act())

    def _noted(self, kind: str, outcome: Outcome) -> Outcome:
        limited = self._limited.get(kind)
        if outcome.code == RATE_LIMITED:
            pause_s = outcome.retry_after_s if outcome.retry_after_s is not None else DEFAULT_PAUSE_S
            limited = self._limited.setdefault(kind, _Limited(0.0))
            limited.until, limited.successes = max(limited.until, time.monotonic() + pause_s), 0
        elif limited is not None:
            limited.successes += 1
            if limited.successes >= FREE_AFTER:
                self._limited.pop(kind, None)
        return outcome
