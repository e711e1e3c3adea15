"""The ledger of the companion: sealed state in a file, everything else in memory.

What waits for the enclave holds the user's plaintext, so it is never written down: whoever handed it in still has
it, because it is not acknowledged before the enclave's step is durable.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from bridge.ledger import writes
from bridge.ledger.model import Applied, Finished, Held
from bridge.ledger.sqlite import SqliteLedger
from bridge.wire.link import Input, Stepped
from bridge.wire.values import Name, OpaqueId


class CompanionStore(SqliteLedger):
    """See `bridge.ledger.model.Ledger`. `stepped` is called with each step, in order, once it is durable."""

    def __init__(self, path: Path, stepped: Callable[[Stepped], None]) -> None:
        super().__init__(path)
        self._stepped = stepped
        self._waiting: dict[int, Input] = {}
        self._next = 1
        self._timers: dict[tuple[str, str, str], int] = {}
        self.counts: dict[str, int] = {}

    # ------------------------------------------------------------ in memory
    @property
    def waiting(self) -> int:
        """Number of inbox entries that wait for the enclave."""
        return len(self._waiting)

    def arrived(self, account: str, network: Name, name: Name, body: bytes) -> int:
        """Add an arrival; returns its position."""
        return self._add(
            Input(position=self._next, account=account, source="arrival", network=network, name=name, body=body)
        )

    def answered(self, account: str, network: Name, name: Name, key: OpaqueId) -> int:
        """Add the answer `ok` to a request; returns its position."""
        return self._add(
            Input(position=self._next, account=account, source="answer", network=network, name=name, key=key)
        )

    def _add(self, entry: Input) -> int:
        self._waiting[entry.position] = entry
        self._next += 1
        return entry.position

    def read_inbox(self, account: str, after: int, limit: int) -> list[Input]:
        """See `Ledger`."""
        found = [e for e in self._waiting.values() if e.account == account and e.position > after]
        return found[:limit]

    def waiting_accounts(self) -> list[str]:
        """See `Ledger`."""
        return sorted({entry.account for entry in self._waiting.values()})

    async def fire_timers(self, now_ms: int) -> frozenset[str]:
        """See `Ledger`."""
        due = [timer for timer, at_ms in self._timers.items() if at_ms <= now_ms]
        for account, network, name in due:
            del self._timers[account, network, name]
            self._add(Input(position=self._next, account=account, source="wake", network=network, name=name))
        return frozenset(account for account, _, _ in due)

    def next_timer(self) -> int | None:
        """See `Ledger`."""
        return min(self._timers.values(), default=None)

    async def count(self, code: str, count: int = 1) -> None:
        """See `Ledger`."""
        self.counts[code] = self.counts.get(code, 0) + count
        if code == "storage-full":  # the worker's way of asking whether the disk takes something again
            await super().count(code, count)

    async def finish_carries(self, finished: Sequence[Finished]) -> int:
        """Requests are not kept: there is nothing to replace."""
        return 0

    async def park(self, position: int, code: str) -> None:
        """Give an input up that kills the enclave: whoever waits for it is told."""
        entry = self._waiting.pop(position, None)
        if entry is not None:
            self._stepped(Stepped(position=position, account=entry.account, step=0, refused=code))

    # ------------------------------------------------------------ in the file
    async def commit_steps(self, steps: Sequence[Stepped]) -> Applied:
        """Write what the steps remember; then forget their inputs, note their timers, pass them on."""
        last: dict[str, int] = {}
        durable = [_remembering(step) for step in steps if step.remembers]
        if durable:
            applied = await self._group.submit(lambda db: writes.apply_steps(db, durable, self._now_ms()))
            last = dict(applied.steps)
        for step in steps:
            self._waiting.pop(step.position, None)
            for report in step.reports:
                self.counts[report.code] = self.counts.get(report.code, 0) + report.count
            self._timers.update({(step.account, w.network, w.name): w.at_ms for w in step.wakes})
            self._stepped(step)
        released: tuple[Held, ...] = ()
        return Applied(released, last)


def _remembering(step: Stepped) -> Stepped:
    """The step without all that is not for the file."""
    return step.model_copy(update={"position": 0, "carries": (), "wakes": (), "reports": (), "traces": ()})
