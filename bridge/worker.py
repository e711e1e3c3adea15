"""From the inbox through the enclave into the ledger, over as many lives of the enclave as it takes."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from bridge.audit import Counters, Event, log
from bridge.ledger.errors import LedgerFull, StepRefused
from bridge.ledger.model import Applied, Held, Ledger
from bridge.session import Session
from bridge.suspects import Suspects
from bridge.wire.link import Stepped

MAX_PRESENT = 1024
STORAGE_RETRY_S = (0.5, 1.0, 2.0, 5.0)
LONGEST_SLEEP_S = 30.0
KILLS_ENCLAVE = "kills-enclave"
STATE_REFUSALS = {
    "rolled-back": "The ledger is older than what was committed. Put the newest copy back; a restart accepts this one.",
    "edited": "Records of the ledger were changed, removed or exchanged. Restore an intact copy.",
    "unsealable": "The ledger does not open with this sealing key. Was the key replaced, or the ledger damaged?",
    "unknown-account": "The enclave does not have it on its map yet.",
    "too-large": "The account's state is larger than the enclave takes. Restore an older copy, and report this.",
    "start-failed": "The enclave could not begin with this state, so it does not use its keys. Please report this.",
}

_log = log("worker")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Worker:
    """Owns the sessions with the enclave and the timers. Everything it holds can be rebuilt from the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        release: Callable[[Sequence[Held]], None],
        health: Callable[[str, str], None],
        counters: Counters,
        max_present: int = MAX_PRESENT,
    ) -> None:
        """`release` is given what may be carried out; `health` a word and a sentence about the enclave."""
        self._ledger = ledger
        self._release = release
        self._health = health
        self._counters = counters
        self._max_present = max_present
        self._accounts: tuple[str, ...] = ()
        self._suspects = Suspects()
        self._session: Session | None = None
        self._links: asyncio.Queue[socket.socket] = asyncio.Queue()
        self._due: int | None = None
        self._due_changed = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether the enclave has answered all there is and the ledger holds it."""
        return self._ledger.waiting == 0 if self._session is None else self._session.quiet

    def serve(self, accounts: Iterable[str]) -> None:
        """The operator's map: these accounts are kept in the enclave."""
        self._accounts = tuple(accounts)
        if self._session is not None:
            self._session.serve(self._accounts)

    def wake(self, accounts: Sequence[str]) -> None:
        """There is something new in the inbox for these accounts."""
        if self._session is not None:
            self._session.look_after(accounts)

    def attach(self, sock: socket.socket) -> None:
        """A new enclave is at the other end of this socket. The link before it ends, if it did not yet."""
        self._links.put_nowait(sock)

    async def run(self) -> None:
        """Serve links and timers until cancelled. Raises LedgerError when the ledger is beyond use."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve_links())
            group.create_task(self._keep_time())

    # -------------------------------------------------- sessions
    async def _serve_links(self) -> None:
        while True:
            sock = await self._links.get()
            while not self._links.empty():  # only the newest enclave is alive
                sock.close()
                sock = self._links.get_nowait()
            session = Session(
                self._ledger,
                careful=lambda: self._suspects.careful,
                committed=self._on_committed,
                state_refused=self._on_state_refused,
                max_present=self._max_present,
            )
            session.look_after([*self._accounts, *self._ledger.waiting_accounts()])
            self._session = session
            _log.info(Event.LINK_OPENED)
            reason = await self._run_session(session, sock)
            self._session = None
            await self._after(session, reason)

    async def _run_session(self, session: Session, sock: socket.socket) -> str:
        running = asyncio.create_task(session.run(sock))
        newer = asyncio.create_task(self._wait_for_link())
        try:
            await asyncio.wait([running, newer], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                session.end("replaced")
            return await running
        finally:
            for task in (running, newer):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _wait_for_link(self) -> None:
        sock = await self._links.get()
        self._links.put_nowait(sock)

    async def _after(self, session: Session, reason: str) -> None:
        _log.warning(Event.LINK_LOST, reason=reason, count=session.flows.in_flight)
        self._counters.add("enclave-link-lost")
        if session.stuck:
            self._health("stuck", "The enclave does not answer; it must be ended and started again.")
        failure = session.failure
        if isinstance(failure, LedgerFull):
            await self._until_usable()
            return
        if failure is not None and not isinstance(failure, StepRefused):
            raise failure
        if failure is not None:
            _log.error(Event.STEP_REFUSED, detail=failure.detail)
        guilty = self._suspects.died(session.flows.heads(), session.flows.in_flight)
        if guilty is not None:
            _log.error(Event.INPUT_REFUSED, position=guilty, code=KILLS_ENCLAVE)
            await self._ledger.park(guilty, KILLS_ENCLAVE)
        elif self._suspects.careful:
            _log.warning(Event.INPUT_SUSPECT, count=len(session.flows.heads()))

    async def _until_usable(self) -> None:
        """Wait until the ledger stores again; nothing is given to an enclave before."""
        _log.error(Event.LEDGER_FULL)
        self._health("storage-full", "The disk of the ledger is full; nothing is taken in until there is room.")
        for attempt in range(1 << 30):
            await asyncio.sleep(STORAGE_RETRY_S[min(attempt, len(STORAGE_RETRY_S) - 1)])
            try:
                await self._ledger.count("storage-full")
            except LedgerFull:
                continue
            break
        _log.info(Event.LEDGER_USABLE)
        self._health("storage-up", "The ledger stores again.")

    def _on_state_refused(self, account: str, code: str) -> None:
        why = STATE_REFUSALS.get(code, "The enclave does not accept the account's state.")
        self._health("state-refused", f"Account {account}: {why}")

    def _on_committed(self, steps: Sequence[Stepped], applied: Applied, positions: list[int]) -> None:
        self._suspects.cleared(positions)
        self._release(applied.released)
        for step in steps:
            if step.refused is not None:
                self._counters.add("input-refused")
                _log.warning(Event.INPUT_REFUSED, account=step.account, position=step.position, code=step.refused)
                self._due = self._ledger.next_timer()  # a wake that was refused comes again
                self._due_changed.set()
            for wake in step.wakes:
                # A timer that was put off leaves an early wake-up behind, which finds nothing due.
                if self._due is None or wake.at_ms < self._due:
                    self._due = wake.at_ms
                    self._due_changed.set()

    # -------------------------------------------------- timers
    async def _keep_time(self) -> None:
        self._due = self._ledger.next_timer()
        while True:
            self._due_changed.clear()
            wait_s = None if self._due is None else min(LONGEST_SLEEP_S, max(0, self._due - _now_ms()) / 1000)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due_changed.wait(), wait_s)
            if self._due is not None and self._due <= _now_ms():
                await self._fire()

    async def _fire(self) -> None:
        try:
            accounts = await self._ledger.fire_timers(_now_ms())
        except LedgerFull:
            await asyncio.sleep(STORAGE_RETRY_S[-1])
            return
        self._due = self._ledger.next_timer()
        self.wake(sorted(accounts))
