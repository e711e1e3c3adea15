"""Both halves of the Matrix adapter joined in one process: inbox, lanes and marks of a gateway in memory."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapters.matrix.inside import MatrixInside
from adapters.matrix.outside import MatrixOutside
from adapters.outside_api import AccountRoutes, Outcome, Route
from bridge.wire.link import Carry
from crypto.message import Message
from rig.bob.client import Bob
from rig.synapse import MatrixAccount, Synapse
from tests.conftest import BobFactory
from tests.unit.fake_step import Carried, MemoryRecords, MemoryStep
from tests.unit.matrix_world import policy


@dataclass
class MatrixGateway:
    """One account: a user of the homeserver with contacts. Also the edge that its outside half is given."""

    user: str
    contacts: tuple[str, ...]
    url: str
    credentials: dict[str, str] = field(repr=False)
    step: MemoryStep = field(init=False)
    inside: MatrixInside = field(default_factory=MatrixInside)
    outside: MatrixOutside = field(init=False)
    marks: dict[str, str] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    arrivals: list[tuple[str, bytes]] = field(default_factory=list)
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    _lanes: dict[str, asyncio.Queue[Carried]] = field(default_factory=dict)
    _timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.step = MemoryStep(policy(self.user, *self.contacts), MemoryRecords(), seed=self.user, half=self.inside)
        self.outside = MatrixOutside({"homeserver": self.url})

    @property
    def routes(self) -> AccountRoutes:
        """The account as the outside half sees it."""
        account = self.step.account
        contacts = tuple(Route(c.id, c.network, c.address, c.alias) for c in account.contacts)
        return AccountRoutes(account.id, "me@here", {"matrix": self.user}, contacts, {"matrix": self.credentials})

    async def start(self, *, resumed: bool = True) -> None:
        """Bring the state in and connect."""
        self.commit(lambda: self.inside.started(self.step, resumed=resumed))
        await self.outside.connect(self, [self.routes])

    async def stop(self) -> None:
        """Disconnect; what is under way in the lanes is tried again by the next start."""
        await self.outside.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._lanes.clear()

    def commit(self, act: Callable[[], None]) -> None:
        """One step; its requests go into their lanes."""
        self.step.commit(act)
        for carried in self.step.take():
            if carried.lane not in self._lanes:
                self._lanes[carried.lane] = asyncio.Queue()
                self._tasks.append(asyncio.create_task(self._lane(self._lanes[carried.lane])))
            self._lanes[carried.lane].put_nowait(carried)
        wakes, self.step.wakes = self.step.wakes, {}
        for name, at_ms in wakes.items():
            if name in self._timers:
                self._timers.pop(name).cancel()
            delay_s = max(0, at_ms - self.step.now) / 1000
            self._timers[name] = asyncio.get_running_loop().call_later(delay_s, self._wake, name, at_ms)

    def _wake(self, name: str, at_ms: int) -> None:
        self._timers.pop(name, None)
        self.step.now = max(self.step.now, at_ms)
        self.commit(lambda: self.inside.woken(self.step, name))

    async def _lane(self, lane: "asyncio.Queue[Carried]") -> None:
        while True:
            carried = await lane.get()
            carry = Carry(
                key=carried.key,
                network="matrix",
                request=carried.request,
                lane=carried.lane,
                values=dict(carried.values),
                trace=carried.trace,
            )
            while True:
                outcome = await self.outside.carry(self.step.account.id, carry)
                self.outcomes.append((carried.request, outcome))
                if not outcome.retry:
                    break
                await asyncio.sleep(min(outcome.retry_after_s or 0.2, 1.0))
            self._answer(carry, outcome)

    def _answer(self, carry: Carry, outcome: Outcome) -> None:
        self.commit(
            lambda: self.inside.answered(
                self.step,
                self.step.input(
                    "answer", carry.request, outcome.body, network="matrix", key=carry.key, code=outcome.code
                ),
            )
        )

    def send(self, text: str, message_id: str, *, contact: int = 0) -> None:
        """A message of the other network for a contact, the first one."""
        receiver = self.step.account.contacts[contact]
        message = Message(message_id, text, position=self.step.position + 1)
        self.commit(lambda: self.inside.to_network(self.step, receiver, message))

    @property
    def texts(self) -> list[str]:
        """What was delivered, in order."""
        return [message.body for _, message in self.step.deliveries]

    # ------------------------------------------------------------ adapters.outside_api.Edge
    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        """See Edge."""
        await self.arrived_batch(account, [(name, body)], mark=mark)

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        """See Edge."""
        for name, body in entries:
            self.arrivals.append((name, body))
            self._arrive(name, body)
        if mark is not None:
            self.marks[mark[0]] = mark[1]

    def _arrive(self, name: str, body: bytes) -> None:
        self.commit(lambda: self.inside.arrived(self.step, self.step.input("arrival", name, body, network="matrix")))

    async def mark(self, account: str, name: str) -> str | None:
        """See Edge."""
        return self.marks.get(name)

    async def set_mark(self, account: str, name: str, value: str) -> None:
        """See Edge."""
        self.marks[name] = value

    def health(self, account: str | None, state: str, detail: str) -> None:
        """See Edge."""
        self.states.append(state)
        self.details.append(detail)


async def opened(
    gateways: list[MatrixGateway], synapse: Synapse, user: MatrixAccount, *contacts: MatrixAccount
) -> MatrixGateway:
    """The gateway of a user with these contacts, started; it is stopped with the others."""
    mapped = tuple(contact.user_id for contact in contacts)
    made = MatrixGateway(user.user_id, mapped, synapse.url, {"password": user.password})
    gateways.append(made)
    await made.start()
    return made


async def talking(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> tuple[MatrixGateway, Bob, str]:
    """A gateway and Bob in the room that the gateway made for its first message."""
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    bob = await bob_factory(account)
    one.send("hello", "a0")
    await bob.wait_messages(1)
    return one, bob, await bob.joined_room(inviter=alice.user_id)


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return when it holds; fail the test when it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.02)
