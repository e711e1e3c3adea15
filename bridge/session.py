"""One life of the enclave, as the worker sees it: bring accounts in, hand inputs over, commit what comes back."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence

from bridge.audit import Event, log
from bridge.enclave_link import EnclaveLink, FromEnclave
from bridge.flows import Flow, Flows, Presence, Unexpected
from bridge.ledger.errors import LedgerError
from bridge.ledger.model import Applied, Ledger
from bridge.wire.link import PROTOCOL_VERSION, Committed, Evict, Hello, Input, Ready, Restore, Restored, SealedRecord
from bridge.wire.link import Stepped as Step

READY_WITHIN_S = 60.0
STUCK_AFTER_S = 60.0
RETRY_RESTORE_S = 30.0
INPUTS_AT_ONCE = 64
STEPS_AT_ONCE = 256
RESTORE_OCTETS = 3 << 20
"""Octets of sealed state in one frame (a third more in base64, so that the frame stays near 4 MiB)."""
RESTORE_RECORDS = 4096

_log = log("worker")


class Session:
    """Ends when its link is lost or the ledger refuses; what was not committed then is simply still in the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        careful: Callable[[], bool],
        committed: Callable[[Sequence[Step], Applied, list[int]], None],
        state_refused: Callable[[str, str], None],
        max_present: int,
    ) -> None:
        self.flows = Flows()
        self.failure: LedgerError | None = None
        self.stuck = False
        self._ledger = ledger
        self._careful = careful
        self._committed = committed
        self._state_refused = state_refused
        self._max_present = max_present
        self._wanted: dict[str, None] = {}
        """Accounts to look after, in order: those to bring in and those that may have inputs."""
        self._turn = asyncio.Event()
        self._answers: deque[Step] = deque()
        self._answered = asyncio.Event()
        self._ready = asyncio.Event()
        self._link: EnclaveLink | None = None

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way, and all that waits belongs to accounts whose state was not accepted."""
        return not (self.flows.in_flight or self._answers or self._wanted or self.flows.owed())

    def look_after(self, accounts: Sequence[str]) -> None:
        """Bring these accounts in, and hand over what they have waiting."""
        for account in accounts:
            self._wanted[account] = None
        self._turn.set()

    def serve(self, accounts: Sequence[str]) -> None:
        """The operator's map changed: the enclave forgets accounts that are gone, and takes new ones."""
        for flow in self.flows:
            if flow.account not in accounts:
                flow.presence = Presence.REFUSED
            elif flow.presence is Presence.REFUSED:
                flow.presence = Presence.ABSENT
        self.look_after(accounts)

    def end(self, reason: str) -> None:
        """End the link."""
        if self._link is not None:
            self._link.close(reason)

    async def run(self, sock: socket.socket) -> str:
        """Serve the link until it is lost; returns why."""
        self._link = link = await EnclaveLink.over(sock, self._received)
        committer = asyncio.create_task(self._commit_all(link))
        others = [asyncio.create_task(work(link)) for work in (self._feed_all, self._watch, self._until_lost)]
        try:
            await asyncio.wait([committer, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.close("closed-by-gateway")
            for task in others:
                task.cancel()
            # A commit that is on its way is not broken off: what it releases must be carried out.
            self._answered.set()
            await asyncio.wait([committer, *others])
        for task in (committer, *others):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return link.reason

    async def _until_lost(self, link: EnclaveLink) -> None:
        await link.lost.wait()

    # -------------------------------------------------- what comes back
    def _received(self, frame: FromEnclave) -> None:
        assert self._link is not None
        if isinstance(frame, Step):
            try:
                self.flows.answered(frame)
            except Unexpected:
                self._link.close("enclave-out-of-turn")
                return
            self._answers.append(frame)
            self._answered.set()
        elif isinstance(frame, Ready):
            if frame.version != PROTOCOL_VERSION:
                self._link.close("enclave-version")
            self._ready.set()
        else:
            self._restored(frame)

    def _restored(self, frame: Restored) -> None:
        assert self._link is not None
        flow = self.flows.of(frame.account)
        if flow.presence is Presence.REFUSED:
            return  # taken off the map meanwhile
        if flow.presence is not Presence.RESTORING:
            self._link.close("enclave-out-of-turn")
        elif frame.code == "ok":
            flow.presence = Presence.PRESENT
            self.look_after([flow.account])
        else:
            flow.presence = Presence.REFUSED
            _log.error(Event.STATE_REFUSED, account=flow.account, code=frame.code)
            self._state_refused(flow.account, frame.code)
            asyncio.get_running_loop().call_later(RETRY_RESTORE_S, self._retry_restore, flow)

    def _retry_restore(self, flow: Flow) -> None:
        if flow.presence is Presence.REFUSED and self._link is not None and not self._link.lost.is_set():
            flow.presence = Presence.ABSENT
            self.look_after([flow.account])

    async def _commit_all(self, link: EnclaveLink) -> None:
        while not link.lost.is_set():
            await self._answered.wait()
            self._answered.clear()
            while self._answers and not link.lost.is_set():
                steps = [self._answers.popleft() for _ in range(min(STEPS_AT_ONCE, len(self._answers)))]
                await self._commit(link, steps)

    async def _commit(self, link: EnclaveLink, steps: list[Step]) -> None:
        try:
            applied = await self._ledger.commit_steps(steps)
        except LedgerError as error:
            self.failure = error
            link.close(error.code)
            return
        positions = self.flows.committed(steps)
        self._committed(steps, applied, positions)
        link.send([Committed(account=account, step=step) for account, step in applied.steps.items()])
        self._turn.set()

    # -------------------------------------------------- what goes in
    async def _feed_all(self, link: EnclaveLink) -> None:
        link.send([Hello(version=PROTOCOL_VERSION)])
        try:
            await asyncio.wait_for(self._ready.wait(), READY_WITHIN_S)
        except TimeoutError:
            self._give_up(link, "enclave-not-ready")
            return
        _log.info(Event.LINK_READY)
        while not link.lost.is_set():
            await self._turn.wait()
            self._turn.clear()
            for account in list(self._wanted):
                await self._look_after(link, self.flows.of(account))

    async def _watch(self, link: EnclaveLink) -> None:
        """An enclave that owes the same answer for long is stuck; it would not notice the end of the link."""
        owed: frozenset[int | str] = frozenset()
        while not link.lost.is_set():
            await asyncio.sleep(STUCK_AFTER_S)
            before, owed = owed, self.flows.owed()
            if before & owed:
                self._give_up(link, "enclave-stuck")

    def _give_up(self, link: EnclaveLink, reason: str) -> None:
        self.stuck = True
        link.close(reason)

    async def _look_after(self, link: EnclaveLink, flow: Flow) -> None:
        if flow.presence is Presence.ABSENT:
            self._wanted.pop(flow.account, None)
            await self._restore(link, flow)
        elif flow.presence is Presence.PRESENT:
            await self._hand_over(link, flow)
        else:
            self._wanted.pop(flow.account, None)

    async def _hand_over(self, link: EnclaveLink, flow: Flow) -> None:
        room = min(INPUTS_AT_ONCE, self.flows.room(careful=self._careful()))
        if room == 0:
            return  # still wanted: the next commit makes room
        del self._wanted[flow.account]
        inputs = self._ledger.read_inbox(flow.account, flow.after, room)
        taken: list[Input] = self.flows.hand_over(flow, inputs)
        if len(taken) < len(inputs):
            self._wanted[flow.account] = None  # the next commit makes room
        elif len(inputs) == room:
            self.look_after([flow.account])  # at the end of the line: the others have their turn first
        link.send(taken)
        await link.writable()

    async def _restore(self, link: EnclaveLink, flow: Flow) -> None:
        self._make_room(link)
        flow.presence = Presence.RESTORING
        flow.after = 0
        page: list[SealedRecord] = []
        octets = 0
        async for record in self._ledger.read_records(flow.account):
            if page and (octets + len(record.sealed) > RESTORE_OCTETS or len(page) == RESTORE_RECORDS):
                link.send([Restore(account=flow.account, records=tuple(page), last=False)])
                await link.writable()
                page, octets = [], 0
            page.append(record)
            octets += len(record.sealed) + len(record.name) + 64
        link.send([Restore(account=flow.account, records=tuple(page), last=True)])
        await link.writable()

    def _make_room(self, link: EnclaveLink) -> None:
        while self.flows.present() >= self._max_present and (flow := self.flows.least_used()) is not None:
            flow.presence = Presence.ABSENT
            link.send([Evict(account=flow.account)])
