"""The way out of one network: requests of a lane are carried in order, again and again until they have an outcome."""

import asyncio
import contextlib
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from adapters.outside_api import Outcome, OutsideHalf, Repeated
from bridge.audit import Counters, Event, log
from bridge.ledger.errors import LedgerError, LedgerFull
from bridge.ledger.model import Finished, Held, Lane, Ledger
from bridge.outcomes import checked
from bridge.wire.link import Carry

LANE_WINDOW = 64
"""Requests of one lane under way at once, where the transport keeps their order."""
NETWORK_WINDOW = 256
"""Requests of all lanes of a network under way at once."""
LOADED = 128
"""Requests of one lane in memory; the rest stays in the ledger until its turn."""
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
LONGEST_RETRY_AFTER_S = 3600.0
STORAGE_RETRY_S = 2.0

_log = log("edge")


def back_off_s(attempts: int, jitter: float) -> float:
    """Seconds to wait after so many failed tries; `jitter` in [0, 1) spreads them over half of it."""
    longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 16))
    return longest * (1 - jitter / 2)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _LaneState:
    lane: Lane
    loaded: deque[Held] = field(default_factory=deque)
    newest: int = 0
    """Number of the last request that was loaded."""
    more: bool = False
    """Whether the ledger holds requests behind the last one loaded."""
    under_way: int = 0
    """Requests handed to the half, without outcome yet."""
    unanswered: int = 0
    """These, and those whose answer is not in the inbox yet."""
    failed: list[Held] = field(default_factory=list)
    wait_until_ms: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Lanes:
    """All lanes of one network. `answered` is told the account whenever an answer stands in the inbox."""

    def __init__(
        self,
        half: OutsideHalf,
        ledger: Ledger,
        answered: Callable[[str], None],
        counters: Counters,
    ) -> None:
        self._half = half
        self._ledger = ledger
        self._answered = answered
        self._counters = counters
        self._before = ledger.newest_request()
        self._window = LANE_WINDOW if half.pipelined else 1
        self._slots = asyncio.Semaphore(NETWORK_WINDOW)
        self._lanes: dict[Lane, _LaneState] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: list[tuple[_LaneState, Finished]] = []
        self._finishing = False
        self._open = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._lanes

    @property
    def resting(self) -> bool:
        """Whether nothing is under way, and all that waits waits for another try."""
        now = _now_ms()
        return all(state.wait_until_ms > now and not state.unanswered for state in self._lanes.values())

    def start(self) -> None:
        """Begin to carry what is there."""
        self._open = True
        for state in list(self._lanes.values()):
            self._spawn(self._run(state))

    def resume(self, lanes: Iterable[Lane]) -> None:
        """These lanes hold requests in the ledger (after a start of the gateway)."""
        for lane in lanes:
            self._state(lane).more = True

    def add(self, held: Held) -> None:
        """A request was committed. Requests of a lane must be added in order."""
        state = self._state(Lane(held.carry.network, held.account, held.carry.lane))
        if held.id <= state.newest:
            return  # was read from the ledger between its commit and this word of it
        if state.more or len(state.loaded) >= LOADED:
            state.more = True
        else:
            state.loaded.append(held)
            state.newest = held.id
        state.changed.set()

    def hurry(self, account: str | None) -> None:
        """The connection is there again: try at once what waits for another try."""
        for state in self._lanes.values():
            if account in (None, state.lane.account) and state.wait_until_ms:
                state.wait_until_ms = 0
                state.changed.set()

    async def close(self) -> None:
        """Stop. What has no outcome yet stays in the ledger."""
        self._open = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -------------------------------------------------- one lane
    def _state(self, lane: Lane) -> _LaneState:
        state = self._lanes.get(lane)
        if state is None:
            state = self._lanes[lane] = _LaneState(lane)
            if self._open:
                self._spawn(self._run(state))
        return state

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, LedgerError):
            raise error  # to the loop's handler; a ledger beyond use ends the process elsewhere

    async def _run(self, state: _LaneState) -> None:
        while True:
            state.changed.clear()
            if not state.loaded and state.more:
                self._load(state)
            if state.failed and not state.under_way:
                # Only when nothing is under way, so that the first of them is the next to go out.
                state.loaded.extendleft(sorted(state.failed, key=lambda held: -held.id))
                state.failed.clear()
            await self._wait_for_retry(state)
            while state.loaded and self._may_carry(state):
                await self._start(state, state.loaded.popleft())
            if not (state.loaded or state.more or state.unanswered or state.failed):
                del self._lanes[state.lane]
                return
            await state.changed.wait()

    def _may_carry(self, state: _LaneState) -> bool:
        # After a crash all that is unanswered is carried again: no more than receivers recognise as repeated.
        return state.under_way < self._window and state.unanswered < LANE_WINDOW and not state.failed

    async def _start(self, state: _LaneState, held: Held) -> None:
        await self._slots.acquire()
        state.under_way += 1
        state.unanswered += 1
        if self._half.pipelined:
            self._spawn(self._carry(state, held))
        else:
            await self._carry(state, held)

    def _load(self, state: _LaneState) -> None:
        found = self._ledger.read_lane(state.lane, state.newest, LOADED)
        state.more = len(found) == LOADED
        if found:
            state.loaded.extend(found)
            state.newest = found[-1].id
            state.wait_until_ms = max(state.wait_until_ms, found[0].next_at_ms)

    async def _wait_for_retry(self, state: _LaneState) -> None:
        while (left_ms := state.wait_until_ms - _now_ms()) > 0 and not state.under_way:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(state.changed.wait(), min(left_ms / 1000, LONGEST_RETRY_AFTER_S))
            state.changed.clear()
        if left_ms <= 0:
            state.wait_until_ms = 0

    async def _carry(self, state: _LaneState, held: Held) -> None:
        try:
            outcome = await self._outcome(held)
            if outcome.retry:
                state.unanswered -= 1
                self._put_off(state, held, outcome)
            else:
                self._finish(state, held, outcome)
        finally:
            self._slots.release()
            state.under_way -= 1
            state.changed.set()

    async def _outcome(self, held: Held) -> Outcome:
        try:
            return checked(await self._half.carry(held.account, self._request(held)))
        except Exception as error:  # an adapter's fault must not stop its lane for good, nor lose the request
            _log.error(
                Event.CARRY_RAISED,
                network=held.carry.network,
                request=held.carry.request,
                error=type(error).__name__,
            )
            return Outcome("adapter-failed", retry=True)

    def _request(self, held: Held) -> Carry:
        """What was there at the start may have been carried out by the process before."""
        return held.carry if held.id > self._before else Repeated.model_construct(**dict(held.carry))

    def _put_off(self, state: _LaneState, held: Held, outcome: Outcome) -> None:
        again = Held(held.id, held.account, held.carry, held.attempts + 1, 0)
        wait_s = back_off_s(again.attempts, random.random())  # noqa: S311 - spreads retries, guards nothing
        if outcome.retry_after_s is not None and math.isfinite(outcome.retry_after_s):
            wait_s = min(max(outcome.retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
        state.failed.append(again)
        state.wait_until_ms = max(state.wait_until_ms, _now_ms() + int(wait_s * 1000))
        self._counters.add("carry-retry")
        # Once is nothing: at a start requests come before the network is there.
        (_log.info if again.attempts == 1 else _log.warning)(
            Event.CARRY_RETRY,
            network=held.carry.network,
            account=held.account,
            request=held.carry.request,
            code=outcome.code,
            attempts=again.attempts,
            retry_s=round(wait_s, 1),
        )
        self._spawn(self._note(again, state.wait_until_ms))

    async def _note(self, held: Held, next_at_ms: int) -> None:
        with contextlib.suppress(LedgerError):  # only the count of tries would be lost
            await self._ledger.note_attempt(held, held.attempts, next_at_ms)

    def _finish(self, state: _LaneState, held: Held, outcome: Outcome) -> None:
        if outcome.code != "ok":
            if not outcome.expected:
                self._counters.add("carry-failed")
            (_log.debug if outcome.expected else _log.warning)(
                Event.CARRY_FAILED,
                network=held.carry.network,
                account=held.account,
                request=held.carry.request,
                code=outcome.code,
            )
        told = outcome.code != "ok" or held.carry.request not in self._half.quiet
        self._finished.append((state, Finished(held, outcome.code, outcome.body, told)))
        if not self._finishing:
            self._finishing = True
            self._spawn(self._finish_all())

    async def _finish_all(self) -> None:
        """Store outcomes, all that came during the last commit in the next."""
        try:
            while self._finished:
                batch, self._finished = self._finished, []
                await self._store([finished for _, finished in batch])
                for state, _ in batch:
                    state.unanswered -= 1
                    state.changed.set()
                for account in {finished.held.account for _, finished in batch if finished.told}:
                    self._answered(account)
        finally:
            self._finishing = False

    async def _store(self, batch: list[Finished]) -> None:
        while True:
            with contextlib.suppress(LedgerFull):
                await self._ledger.finish_carries(batch)
                return
            await asyncio.sleep(STORAGE_RETRY_S)
