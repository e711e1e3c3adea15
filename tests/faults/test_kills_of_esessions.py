"""The gateway or the enclave is killed while keys are renewed, two clients listen, and stanzas go sealed alone."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from crypto.esession.conversation import Event
from crypto.esession.rekeying_state import RekeyPolicy
from rig.prosody import Prosody
from tests.interop.esession_peer import Peer
from tests.interop.test_gateway_send import Gateway
from tests.interop.test_xmpp_esessions import keyed

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

SETTINGS = "{one_shot: accept, public_keys: [key, hash, none], rekey: {messages: 10}}"
KILLS = 5
EACH = 8
"""Texts between two kills."""
PATIENCE_S = 4.0


class Keeper:
    """A client that begins again when its session is lost, and repeats until it is acknowledged."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        peer.end.rekey = RekeyPolicy(stanzas=15)
        peer.end.terms = replace(keyed(), three_message=True, disclosure=("never", "enabled"))
        self.alone: dict[str, str] = {}
        """What goes sealed alone, by id, until it is acknowledged."""
        self._moved, self._tries = (0, time.monotonic()), 0
        self._task = asyncio.create_task(self._keep())

    def tell(self, text: str) -> None:
        """Within the session."""
        self.peer.end.tell(text, text)
        self.peer.act()

    async def _keep(self) -> None:
        while True:
            end = self.peer.end
            progress, since = self._moved
            if len(end.acknowledged) != progress or not (end.unacknowledged or self.alone):
                self._moved = len(end.acknowledged), time.monotonic()
            elif time.monotonic() - since > PATIENCE_S:
                self._moved = progress, time.monotonic()
                self._begin()
            elif end.current is None and end.events and end.events[-1] is not Event.OFFERED:
                self._begin()
            await asyncio.sleep(1)

    def _begin(self) -> None:
        """Anew, with all that is not acknowledged."""
        self._tries += 1
        self.peer.end.start(thread=f"{self.peer.boundjid.resource}-{self._tries}")
        self.send_alone()

    def send_alone(self) -> None:
        """What is not acknowledged of the texts that go alone."""
        request = "<request xmlns='urn:xmpp:receipts'/>"
        for id_, text in list(self.alone.items()):
            if id_ in self.peer.end.acknowledged:
                del self.alone[id_]
            else:
                self.peer.end.once(f"<body>{text}</body>{request}<origin-id xmlns='urn:xmpp:sid:0' id='{id_}'/>")
        self.peer.act()

    def stop(self) -> None:
        """No more."""
        self._task.cancel()


@pytest_asyncio.fixture
async def scene(
    prosody: Prosody, short_path: Path, unique: Callable[[str], str]
) -> AsyncIterator[tuple[Gateway, Keeper, Keeper]]:
    component, alice = prosody.component(), prosody.account(unique("alice"))
    gateway = Gateway(short_path)
    gateway.write(component, alice, SETTINGS)
    await asyncio.to_thread(gateway.start)
    contact = f"echo@{component.jid}"
    desk = Keeper(await Peer(alice, "desk", contact).log_in())
    phone = Keeper(await Peer(alice, "phone", contact).log_in())
    yield gateway, desk, phone
    for keeper in (desk, phone):
        keeper.stop()
        await keeper.peer.log_out()
    await asyncio.to_thread(gateway.stop)


async def _until(true: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        await asyncio.sleep(0.05)


async def _kill(gateway: Gateway, role: str) -> None:
    await _until(lambda: gateway.child(role), f"{role} runs")
    child = gateway.child(role)
    try:
        if child is not None:
            child.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        pass


@pytest.mark.parametrize("role", ["gateway", "enclave"])
async def test_kills_while_keys_are_renewed_lose_and_double_nothing(
    scene: tuple[Gateway, Keeper, Keeper], role: str
) -> None:
    gateway, desk, phone = scene
    desk.peer.end.start(thread="desk-0")
    desk.peer.act()
    await _until(lambda: desk.peer.end.current, "a session")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice, told, alone = random.Random(seed), [], []
    for round_ in range(KILLS):
        for number in range(EACH):
            told.append(f"text {round_}/{number}")
            desk.tell(told[-1])
            await asyncio.sleep(dice.uniform(0, 0.05))
        alone.append(f"alone {round_}")
        phone.alone[alone[-1]] = alone[-1]
        phone.send_alone()
        await asyncio.sleep(dice.uniform(0, 0.3))
        await _kill(gateway, role)
        await asyncio.sleep(dice.uniform(0, 1))
    shown = lambda: {*desk.peer.end.shown, *phone.peer.end.shown}  # noqa: E731 - grows
    try:
        await _until(lambda: shown() >= {*told, *alone}, "every text came back", 90)  # type: ignore[no-untyped-call]
    finally:
        print(sorted({*told, *alone} - shown()), desk.peer.end.events[-8:], phone.peer.end.events[-8:])  # type: ignore[no-untyped-call]
    await _until(lambda: not desk.peer.end.unacknowledged, "every text is acknowledged")
    for keeper in (desk, phone):
        seen = [text for text in keeper.peer.end.shown if text in told]
        assert len(seen) == len(set(seen)), "nothing came twice"
        assert seen == [text for text in told if text in seen], "in order"
    first = [id_ for id_ in phone.peer.end.acknowledged if id_ in alone]
    assert set(first) | set(phone.alone) == set(alone)
