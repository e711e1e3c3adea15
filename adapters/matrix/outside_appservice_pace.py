"""When an account of the application service asks for its news, and what has come of them (decision 0140).

A transaction rings; the account then asks, and goes on asking for a moment. Between conversations it only listens.
While the homeserver does not reach us it asks all the time, as any client does.
"""

import asyncio
import contextlib
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence, Set

from adapters.matrix.outside_appservice_news import entry_mark
from adapters.outside_api import Edge

LINGER_S = 10.0
"""For how long after a transaction the account goes on asking: what is told of may reach another part of the
homeserver later."""
LINGERING_POLL_S = 5
IDLE_S = 300.0
"""After how long it asks unasked: a homeserver that ends at once forgets transactions that it has not stored."""
MOST_SEEN = 4096


class Pace:
    """The times of one account. `reached`: whether the homeserver reaches us; `poll_s`: of a long poll when not."""

    def __init__(self, reached: Callable[[], bool], poll_s: int) -> None:
        self._reached = reached
        self._poll_s = poll_s
        self._rung = asyncio.Event()
        self._until = 0.0
        self._begun = 0
        self._stored = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._moved = asyncio.Event()

    def ring(self) -> None:
        """There is something new."""
        self._until = asyncio.get_running_loop().time() + LINGER_S
        self._rung.set()

    def hurry(self) -> None:
        """Look again whether it is time to ask: the homeserver may not reach us any more."""
        if not self._reached():
            self._rung.set()

    async def due(self) -> None:
        """Return when it is time to ask."""
        lingering = asyncio.get_running_loop().time() < self._until
        if self._reached() and not lingering and not self._rung.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), IDLE_S * random.uniform(0.8, 1.0))  # noqa: S311
        self._rung.clear()
        self._begun += 1

    def patience_s(self) -> int:
        """How long the homeserver may wait before it answers that there is nothing new."""
        return LINGERING_POLL_S if self._reached() else self._poll_s

    # ------------------------------------------------------------ what came of it
    def stored(self, marks: Sequence[str], *, whole: bool) -> None:
        """These are in the inbox. `whole`: all that the last answer held is."""
        for mark in marks:
            self._seen[mark] = None
            self._seen.move_to_end(mark)
        while len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        if whole:
            self._stored = self._begun
        self._moved.set()
        self._moved = asyncio.Event()

    async def taken(self, marks: Set[str], up: Callable[[], bool]) -> None:
        """Return once these are in the inbox; or all of a later answer is; or the account is down.

        Then it asks from where it was, when it is up again.
        """
        self.ring()
        begun = self._begun
        while up() and marks - self._seen.keys() and self._stored <= begun:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), 1.0)


class Witness:
    """The edge of one account (`adapters.outside_api.Edge`): tells its pace what has become durable."""

    def __init__(self, edge: Edge, pace: Pace, since: str) -> None:
        self._edge = edge
        self._pace = pace
        self._since = since

    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        """See Edge."""
        await self.arrived_batch(account, [(name, body)], mark=mark)

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See Edge."""
        await self._edge.arrived_batch(account, entries, mark=mark)
        found = [entry_mark(entry) for entry in entries]
        self._pace.stored([each for each in found if each], whole=mark is not None and mark[0] == self._since)

    async def mark(self, account: str, name: str) -> str | None:
        """See Edge."""
        return await self._edge.mark(account, name)

    async def set_mark(self, account: str, name: str, value: str) -> None:
        """See Edge."""
        await self._edge.set_mark(account, name, value)

    def health(self, account: str | None, state: str, detail: str) -> None:
        """See Edge."""
        self._edge.health(account, state, detail)
