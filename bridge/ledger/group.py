"""Group commit: everything asked for while one commit is on its way to the disk goes into the next.

Statements run in the event loop's thread, where each takes microseconds; only the commit, which waits for the
disk, runs in another. With all statements in the other thread each of them would wait for the interpreter lock
of a busy loop (decision 0060).
"""

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.ledger.errors import LedgerBroken, LedgerClosed, LedgerCorrupt, LedgerError, LedgerFull

T = TypeVar("T")
MAX_GROUP = 512
SPACING_S = 0.002
"""Least time between the starts of two commits. A lone write is committed at once; under load a commit, which
costs the same for one write as for a hundred, gathers what came meanwhile."""


def _same(_result: object) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class _Work:
    run: Callable[[sqlite3.Connection], Any]
    grows: Callable[[Any], int]
    done: asyncio.Future[Any]


def ledger_error(error: sqlite3.Error) -> LedgerError:
    """The trouble of the ledger that an error of SQLite's means."""
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return LedgerFull()
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerCorrupt()
    return LedgerBroken(getattr(error, "sqlite_errorname", None) or "unknown")


class GroupCommit:
    """Owns the writing connection. `waiting` follows what the committed works say the inbox grew by."""

    def __init__(self, db: sqlite3.Connection, waiting: int) -> None:
        self.waiting = waiting
        self._db = db
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ledger-commit")
        self._pending: deque[_Work] = deque()
        self._task: asyncio.Task[None] | None = None
        self._failed: LedgerError | None = None
        self._broke = asyncio.Event()
        self._begun = 0.0
        self._emptying = False

    def empty_log(self) -> None:
        """After the next commit nothing that was replaced or deleted is left in the write-ahead log (0105)."""
        self._emptying = True

    def submit(self, run: Callable[[sqlite3.Connection], T], grows: Callable[[T], int] = _same) -> "asyncio.Future[T]":
        """Run the work in the next group; the future is done when the group is on the disk, or has failed."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._failed is not None:
            done.set_exception(self._failed)
            return done
        self._pending.append(_Work(run, grows, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return done

    async def failed(self) -> LedgerError:
        """Return when nothing can be committed any more, with the reason."""
        await self._broke.wait()
        assert self._failed is not None
        return self._failed

    async def close(self) -> None:
        """Finish what was submitted, take nothing more, close the connection."""
        while self._task is not None:
            await asyncio.wait([self._task])
        self._failed = self._failed or LedgerClosed()
        self._pool.shutdown()
        self._db.close()

    async def _run(self) -> None:
        try:
            while self._pending:
                await self._space()
                group = [self._pending.popleft() for _ in range(min(MAX_GROUP, len(self._pending)))]
                await self._commit([work for work in group if not work.done.cancelled()])
        finally:
            self._task = None

    async def _space(self) -> None:
        loop = asyncio.get_running_loop()
        early_s = self._begun + SPACING_S - loop.time()
        if early_s > 0 and len(self._pending) < MAX_GROUP:
            await asyncio.sleep(early_s)
        self._begun = loop.time()

    async def _commit(self, group: list[_Work]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = [self._attempt(work) for work in group]
            await asyncio.get_running_loop().run_in_executor(self._pool, self._durable)
        except sqlite3.Error as error:
            trouble = ledger_error(error)
        else:
            for work, result in zip(group, results, strict=True):
                self._resolve(work, result)
            return
        self._give_up(group, trouble)

    def _durable(self) -> None:
        self._db.execute("COMMIT")
        if self._emptying:
            self._emptying = False
            # Committed already: a reader that is in the way only puts this off until the next time.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _attempt(self, work: _Work) -> Any:
        """The work's result, or the exception it raised, undone alone. An error of SQLite's undoes the group."""
        self._db.execute("SAVEPOINT work")
        try:
            result = work.run(self._db)
        except sqlite3.Error:
            raise
        except Exception as error:
            self._db.execute("ROLLBACK TO work")
            result = error
        self._db.execute("RELEASE work")
        return result

    def _resolve(self, work: _Work, result: Any) -> None:
        if not isinstance(result, Exception):
            self.waiting += work.grows(result)
        if work.done.done():
            return
        if isinstance(result, Exception):
            work.done.set_exception(result)
        else:
            work.done.set_result(result)

    def _give_up(self, group: list[_Work], trouble: LedgerError) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            trouble = ledger_error(error)
        if not isinstance(trouble, LedgerFull):
            # After a failed write or flush nobody knows what the disk holds: only opening it again tells.
            self._failed = trouble
            self._broke.set()
            group = [*group, *self._pending]
            self._pending.clear()
        for work in group:
            if not work.done.done():
                work.done.set_exception(trouble)
