"""What stands behind the hook: hands stanzas to the enclave, and carries out what it wants done."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.companion import names
from adapters.companion.names import NETWORK, Able
from bridge.audit import Counters, Event, log
from bridge.keeping import Fatal, Keeper
from bridge.ledger.errors import LedgerError
from bridge.ledger.model import Held
from bridge.wire.link import Carry, Stepped
from bridge.wire.values import MAX_BODY, Address, Public, Sealed
from bridge.worker import Worker
from companion.disco import Disco
from companion.enclave import ACCOUNT, CompanionPost, configuration
from companion.hook import Action, Push, ToClient, ToServer
from companion.local_contact import LocalContact
from companion.peek import Peek, Unreadable, peek
from companion.store import CompanionStore

TIDY_EVERY_S = 60.0
TOLD_TAKEN = 1000
"""Handed-over messages that are remembered, in case a restarted enclave hands them over again."""

_COPIES = (names.NS_FORWARD, names.NS_CARBONS)
_PERSONAL = "{http://jabber.org/protocol/pubsub#event}event"

_log = log("worker")


class EnclaveFailed(Exception):
    """The enclave cannot take stanzas: the session ends, and what was not acknowledged stays where it came from."""

    def __init__(self) -> None:
        super().__init__("the enclave does not take stanzas")


class EnclaveInterceptor:
    """See `companion.hook.Interceptor`. Messages go through the enclave, in order, and whatever else may be for it."""

    def __init__(self, folder: Path, jid: str, *, stuck: Callable[[], None]) -> None:
        """`stuck` is called for an enclave that does not answer: it has to be ended."""
        self._jid = jid
        self._stuck = stuck
        self._store = CompanionStore(folder / "state.db", self._stepped)
        self._worker = Worker(self._store, release=_nothing, health=self._health, counters=Counters())
        self._worker.serve([ACCOUNT])
        self._push: Push | None = None
        self._answers: dict[int, asyncio.Future[list[Action] | None]] = {}
        self._untaken: dict[str, bytes] = {}
        """Opened messages that the client does not have yet, by key, in order."""
        self._handed: set[str] = set()
        """Those of them that were handed over in this session."""
        self._taken: deque[str] = deque(maxlen=TOLD_TAKEN)
        self._failure: str | None = None
        self._present = False
        self.disco = Disco(self._act, self._heard)
        self.local = LocalContact()

    @property
    def worker(self) -> Worker:
        """Runs the link."""
        return self._worker

    async def tidy(self) -> None:
        """Until cancelled: every minute, nothing that was replaced is left in the files (docs/decisions/0105)."""
        while True:
            with contextlib.suppress(LedgerError):  # one beyond use is noticed elsewhere
                await self._store.maintain()
            await asyncio.sleep(TIDY_EVERY_S)

    async def close(self) -> None:
        """Close the store."""
        self._failure = "closed"
        self._fail_all()
        await self._store.close()

    # ------------------------------------------------------------ companion.hook.Interceptor
    def attach(self, push: Push | None) -> None:
        """See `Interceptor`."""
        self._push = push

    async def begun(self, jid: str) -> None:
        """See `Interceptor`."""
        self._present = False
        self._handed.clear()
        self.disco.begun(jid)
        self.local.begun(jid)
        await self._through(names.ONLINE, jid.encode())

    async def ended(self) -> None:
        """See `Interceptor`."""
        self._present = False
        await self._through(names.OFFLINE, b"")

    async def from_client(self, stanza: bytes) -> Sequence[Action]:
        """See `Interceptor`."""
        seen = _peeked(stanza)
        if seen is None:
            return []
        if (actions := self.disco.from_client(seen, stanza)) is not None:  # before: answers to it go to that contact
            return [*actions, *self._greeting(seen)]
        if (actions := self.local.from_client(seen, stanza)) is not None:
            return actions
        if seen.name == "message" or (seen.to and self.disco.able(seen.to)):
            if len(stanza) > MAX_BODY:
                return [_refusal(seen)]
            answer = await self._through(names.FROM_CLIENT, stanza)
            # What the enclave cannot read may be for somebody who encrypts: it goes back, not out.
            return [_refusal(seen)] if answer is None else answer
        return [ToServer(stanza), *self._greeting(seen)]

    async def from_server(self, stanza: bytes) -> Sequence[Action]:
        """See `Interceptor`."""
        seen = _peeked(stanza)
        if seen is None or seen.is_from(names.LOCAL) or (seen.from_ and not names.is_sane(seen.from_)):
            return []
        if (actions := self.disco.from_server(seen, stanza)) is not None:
            return actions
        if self.local.is_meddled_with(seen):
            return []
        after = self.local.from_server(seen)
        if seen.name == "message" and (not self._is_own(seen) or seen.holds(*_COPIES)):
            return [*await self._message(seen, stanza), *after]
        if seen.name != "message" and seen.holds(names.NS_STANZA_ENCRYPTION):
            return [*(await self._through(names.FROM_SERVER, stanza) or ()), *after]
        return [ToClient(stanza), *after]

    async def _message(self, seen: Peek, stanza: bytes) -> Sequence[Action]:
        """A message, or a copy of one: the enclave says what is shown of it."""
        if self._is_own(seen) and seen.holds(names.NS_STANZA_ENCRYPTION):
            return []  # a copy of ciphertext: nobody can read it
        answer = await self._through(names.FROM_SERVER, stanza) if len(stanza) <= MAX_BODY else None
        if answer is not None:
            return answer
        # The enclave does not read it. Personal events, which may be large, cannot be taken for somebody's words.
        if all(child.tag == _PERSONAL for child in seen.element):
            return [ToClient(stanza)]
        if self._is_own(seen) or seen.type not in ("", "normal", "chat"):
            return []
        return [ToServer(seen.error("not-acceptable", "modify"))]

    def _is_own(self, seen: Peek) -> bool:
        """Whether a message is from our own server or account: archive results, copies, notifications."""
        sender = names.bare(seen.from_)
        return sender in ("", names.bare(self._jid), names.bare(self._jid).partition("@")[2])

    def _greeting(self, seen: Peek) -> list[Action]:
        """The client has become available: the local contact shows, and what it does not have yet follows."""
        if self._present or seen.name != "presence" or seen.to or seen.type:
            return []
        self._present = True
        again = [self._handing(key, octets) for key, octets in self._untaken.items() if key not in self._handed]
        return [*self.local.presence(), *again]

    # ------------------------------------------------------------ into the enclave
    async def _through(self, name: str, body: bytes) -> list[Action] | None:
        """What the enclave says to an arrival; None: it refuses it. Raises EnclaveFailed."""
        if self._failure is not None:
            raise EnclaveFailed
        answer: asyncio.Future[list[Action] | None] = asyncio.get_running_loop().create_future()
        self._answers[self._store.arrived(ACCOUNT, NETWORK, name, body)] = answer
        self._worker.wake([ACCOUNT])
        return await answer

    def _heard(self, able: Able) -> None:
        """Something was learned about a peer."""
        self._store.arrived(ACCOUNT, NETWORK, names.ABLE, able.encode())
        self._worker.wake([ACCOUNT])

    def _was_taken(self, key: str) -> None:
        """The client has an opened message."""
        if self._untaken.pop(key, None) is not None:
            self._taken.append(key)
        self._store.answered(ACCOUNT, NETWORK, names.TO_CLIENT, key)
        self._worker.wake([ACCOUNT])

    def _health(self, state: str, sentence: str) -> None:
        if state == "stuck":
            self._stuck()
        elif state == "state-refused":
            self._failure = state
            _log.error(Event.STATE_REFUSED, account=ACCOUNT, code=state, detail=sentence)
            self._fail_all()

    def _fail_all(self) -> None:
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(EnclaveFailed())
                answer.exception()

    # ------------------------------------------------------------ out of the enclave
    def _stepped(self, step: Stepped) -> None:
        """A step is durable: now, and not before, is done what it wants."""
        answer = self._answers.pop(step.position, None) if step.position else None
        tied: list[Action] = []
        for carry in step.carries:
            self._carry(carry, tied, later=answer is not None)
        if answer is not None and not answer.done():
            answer.set_result(None if step.refused is not None else tied)
        elif answer is not None:
            self._act(tied)

    def _carry(self, carry: Carry, tied: list[Action], *, later: bool) -> None:
        value = carry.values.get("stanza") or carry.values.get("to")
        if isinstance(value, Address):
            self.disco.inquire(value.v)
            return
        assert isinstance(value, Public | Sealed)
        action = self._to_client(carry.key, value.v) if carry.request == names.TO_CLIENT else ToServer(value.v)
        if action is None:
            return
        # What is encrypted bears a counter: it goes out in the order in which it was sealed.
        if later and carry.request in (names.PLAIN, names.TO_CLIENT):
            tied.append(action)
        else:
            self._act([action])

    def _to_client(self, key: str, octets: bytes) -> Action | None:
        if not key.startswith("inbound/"):
            return ToClient(octets)
        if key in self._taken:
            self._was_taken(key)  # a restarted enclave did not hear of it
            return None
        known = key in self._untaken
        self._untaken[key] = octets
        if not self._present or (known and key in self._handed):
            return None
        return self._handing(key, octets)

    def _handing(self, key: str, octets: bytes) -> Action:
        self._handed.add(key)
        return ToClient(octets, lambda: self._was_taken(key))

    def _act(self, actions: Sequence[Action]) -> None:
        if self._push is not None and actions:
            self._push(actions)


def _nothing(_held: Sequence[Held]) -> None:
    """Requests are carried out as their steps become durable."""


def _peeked(stanza: bytes) -> Peek | None:
    try:
        return peek(stanza)
    except Unreadable:
        return None


def _refusal(seen: Peek) -> Action:
    """The error for a stanza of the client's that cannot be encrypted, and is not sent otherwise."""
    return ToClient(seen.error("not-acceptable", "modify"))


@asynccontextmanager
async def running(
    folder: Path,
    jid: str,
    sealing_key: bytes,
    *,
    lockdown: str = "enforce",
    began: Callable[[CompanionPost], None] | None = None,
) -> AsyncIterator[tuple[EnclaveInterceptor, "asyncio.Future[None]"]]:
    """An interceptor with its enclave, once that is there; the future fails when there cannot be one here (Fatal)."""
    there = asyncio.Event()

    def attach(link: socket.socket) -> None:
        interceptor.worker.attach(link)
        there.set()

    post = CompanionPost(configuration(jid, sealing_key), lockdown, attach)
    interceptor = EnclaveInterceptor(folder, jid, stuck=post.kill)
    if began is not None:
        began(post)
    keeper = Keeper(post)
    keeping = asyncio.create_task(keeper.keep())
    working = asyncio.create_task(interceptor.worker.run())
    tidying = asyncio.create_task(interceptor.tidy())
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watch = asyncio.create_task(_watch(broken, keeping, working))
    first = asyncio.create_task(there.wait())
    try:
        ends: list[asyncio.Future[Any]] = [first, broken]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        yield interceptor, broken
    finally:
        first.cancel()
        keeper.leave()
        watch.cancel()
        working.cancel()
        tidying.cancel()
        await post.close()
        await asyncio.gather(keeping, working, watch, tidying, return_exceptions=True)
        await interceptor.close()
        if broken.done() and not broken.cancelled():
            broken.exception()


async def _watch(broken: "asyncio.Future[None]", *tasks: "asyncio.Task[None]") -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    error = next((found for task in done if (found := task.exception()) is not None), None)
    if not broken.done():
        broken.set_exception(error if isinstance(error, Exception) else Fatal(1))
