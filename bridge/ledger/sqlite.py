"""The ledger in one SQLite file."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from bridge.ledger import reads, writes
from bridge.ledger.errors import LedgerError
from bridge.ledger.group import GroupCommit
from bridge.ledger.model import Applied, Depths, Finished, Held, Lane, Parked, TraceRow
from bridge.ledger.place import connect, lock, open_reader, open_writer, prepare
from bridge.wire.link import Input, SealedRecord, Stepped

KEPT_TRACES = 10_000
KEPT_TRACES_MS = 7 * 86_400_000
PRUNED_AT_ONCE = 2_000
RECORDS_AT_ONCE = 64
TIMERS_AT_ONCE = 256
PAGES_AT_ONCE = 512


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteLedger:
    """See `Ledger`. One process has it open for writing; others may read it (`Inspector`)."""

    def __init__(self, path: Path, *, now_ms: Callable[[], int] = _now_ms) -> None:
        """Open or make the file. LedgerLocked, LedgerForeign, LedgerNewer, LedgerCorrupt, LedgerUnreachable."""
        prepare(path)
        self.path = path
        self._now_ms = now_ms
        self._lock = lock(path)
        try:
            writer = open_writer(path)
        except LedgerError:
            os.close(self._lock)
            raise
        self._reader = connect(path, read_only=True)
        self._group = GroupCommit(writer, reads.depths(self._reader).inbox)

    @property
    def waiting(self) -> int:
        """Number of inbox entries that wait for the enclave."""
        return self._group.waiting

    async def failed(self) -> LedgerError:
        """See `Ledger`."""
        return await self._group.failed()

    async def append_arrivals(
        self,
        account: str,
        network: str,
        entries: Sequence[tuple[str, bytes]],
        *,
        mark: tuple[str, str] | None = None,
    ) -> list[int]:
        """See `Ledger`."""
        return await self._group.submit(
            lambda db: writes.append_arrivals(db, account, network, entries, mark=mark, now_ms=self._now_ms()), len
        )

    async def commit_steps(self, steps: Sequence[Stepped]) -> Applied:
        """See `Ledger`."""
        return await self._group.submit(
            lambda db: writes.apply_steps(db, steps, self._now_ms()),
            lambda _: -sum(1 for step in steps if step.position),
        )

    async def finish_carries(self, finished: Sequence[Finished]) -> int:
        """See `Ledger`."""
        return await self._group.submit(lambda db: writes.finish_carries(db, finished, self._now_ms()), int)

    async def note_attempt(self, held: Held, attempts: int, next_at_ms: int) -> None:
        """See `Ledger`."""
        await self._group.submit(lambda db: writes.note_attempt(db, held, attempts, next_at_ms))

    async def fire_timers(self, now_ms: int) -> frozenset[str]:
        """See `Ledger`."""
        fired = await self._group.submit(lambda db: writes.fire_timers(db, now_ms, TIMERS_AT_ONCE), len)
        return frozenset(fired)

    async def park(self, position: int, code: str) -> None:
        """See `Ledger`."""
        await self._group.submit(lambda db: writes.park(db, position, None, code, self._now_ms()), lambda _: -1)

    async def release_parked(self, position: int) -> str | None:
        """See `Ledger`."""
        return await self._group.submit(
            lambda db: writes.release_parked(db, position, self._now_ms()), lambda account: int(account is not None)
        )

    async def set_mark(self, account: str, network: str, name: str, value: str) -> None:
        """See `Ledger`."""
        await self._group.submit(lambda db: db.execute(writes.SET_MARK, (account, network, name, value)))

    async def count(self, code: str, count: int = 1) -> None:
        """See `Ledger`."""
        await self._group.submit(lambda db: writes.add_counts(db, [(code, count)]))

    async def maintain(self) -> None:
        """See `Ledger`."""
        oldest = self._now_ms() - KEPT_TRACES_MS

        def work(db: sqlite3.Connection) -> None:
            writes.prune_traces(db, keep=KEPT_TRACES, older_than_ms=oldest, limit=PRUNED_AT_ONCE)
            writes.give_back_pages(db, PAGES_AT_ONCE)

        self._group.empty_log()
        await self._group.submit(work)

    async def close(self) -> None:
        """See `Ledger`."""
        self._reader.close()
        await self._group.close()
        os.close(self._lock)

    # -------------------------------------------------- reading
    def read_inbox(self, account: str, after: int, limit: int) -> list[Input]:
        """See `Ledger`."""
        return reads.inbox(self._reader, account, after, limit)

    def read_lane(self, lane: Lane, after: int, limit: int) -> list[Held]:
        """See `Ledger`."""
        return reads.lane(self._reader, lane, after, limit)

    async def read_records(self, account: str) -> AsyncIterator[SealedRecord]:
        """See `Ledger`."""
        after = ""
        while page := reads.records(self._reader, account, after, RECORDS_AT_ONCE):
            for record in page:
                yield record
            after = page[-1].name
            await asyncio.sleep(0)

    def newest_request(self) -> int:
        """See `Ledger`."""
        return reads.newest_request(self._reader)

    def lanes(self) -> list[Lane]:
        """See `Ledger`."""
        return reads.lanes(self._reader)

    def waiting_accounts(self) -> list[str]:
        """See `Ledger`."""
        return reads.waiting_accounts(self._reader)

    def known_accounts(self) -> list[str]:
        """See `Ledger`."""
        return reads.known_accounts(self._reader)

    def next_timer(self) -> int | None:
        """See `Ledger`."""
        return reads.next_timer(self._reader)

    def mark(self, account: str, network: str, name: str) -> str | None:
        """See `Ledger`."""
        return reads.mark(self._reader, account, network, name)

    def depths(self) -> Depths:
        """See `Ledger`."""
        return reads.depths(self._reader)

    def counters(self) -> dict[str, int]:
        """See `Ledger`."""
        return reads.counters(self._reader)


class Inspector:
    """Reads a ledger beside the gateway that has it open, for the operator's commands. Changes nothing."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading. LedgerForeign, LedgerCorrupt, LedgerUnreachable."""
        self._db = open_reader(path)

    def parked(self, limit: int = 1000) -> list[Parked]:
        """Inputs that were set aside, the oldest first."""
        return reads.parked(self._db, limit)

    def traces(self, position: int | None = None, limit: int = 1000) -> list[TraceRow]:
        """Stages of one message, or the newest stages of all, in the order in which they were reached."""
        return reads.traces(self._db, position, limit)

    def depths(self) -> Depths:
        """How much is waiting."""
        return reads.depths(self._db)

    def counters(self) -> dict[str, int]:
        """All counters."""
        return reads.counters(self._db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()
